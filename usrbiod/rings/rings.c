/* SPDX-License-Identifier: Apache-2.0 */
#include "rings.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "batch.h"
#include "realtime.h"
#include "ring.h"
#include "sharedsem.h"
#include "submit.h"

enum {
	SIDE_WORKERS = 8,    /* of high and of low priority, each */
	HIGH_QUEUE_MAX = 32, /* jobs that wait there; beyond, a worker's next job is left to the watcher */
	/* Of one user, with rings that end included: half of what there is (sigbus.c), and a few hundred bytes for each
	 * request that may be in a job. */
	USER_RINGS = 1024,
	USER_REQUESTS = 1 << 20,
};

/* Jobs of one priority that wait for a worker, and how many run. */
struct queue {
	struct job *first, **last;
	int waiting, running, workers;
};

struct watcher {
	struct rings *rings;
	enum priority priority;
	struct submit submit;
	pthread_t thread;
	bool started;
};

struct rings {
	const struct backend *backend;
	struct watcher watchers[PRIORITIES];
	pthread_mutex_t list_lock;
	struct ring *first; /* registered */
	struct ring *ended; /* deregistered; requests of theirs still ran when last looked at */
	pthread_mutex_t queue_lock;
	struct queue queues[PRIORITIES];
	_Atomic bool stopped;
};

/* ---------------------------------------------------------------- workers */

static bool enqueue(struct rings *t, enum priority priority, struct job *job, int max_waiting)
{
	struct queue *q = &t->queues[priority];
	bool fits;

	pthread_mutex_lock(&t->queue_lock);
	fits = q->waiting < max_waiting;
	if (fits) {
		job->queue = priority;
		*q->last = job;
		q->last = &job->next_queued;
		q->waiting++;
	}
	pthread_mutex_unlock(&t->queue_lock);
	return fits;
}

static struct job *dequeue(struct rings *t)
{
	struct job *job = NULL;

	pthread_mutex_lock(&t->queue_lock);
	for (int i = 0; i < PRIORITIES && !job; i++) {
		struct queue *q = &t->queues[i];

		if (!q->first || q->running >= q->workers)
			continue;
		job = q->first;
		q->first = job->next_queued;
		if (!q->first)
			q->last = &q->first;
		q->waiting--;
		q->running++;
	}
	pthread_mutex_unlock(&t->queue_lock);
	return job;
}

static void job_done(struct job *job, void *arg);

/* Runs what may run. A job can end inside job_run() and so come back here: the outer call then goes on, so that the
 * stack does not grow with the number of jobs. */
static void run_queued(struct rings *t)
{
	static _Thread_local bool running;
	struct job *job;

	if (running)
		return;
	running = true;
	while (!atomic_load(&t->stopped) && (job = dequeue(t)))
		job_run(job, job_done, t);
	running = false;
}

static void worker_free(struct rings *t, enum priority priority)
{
	pthread_mutex_lock(&t->queue_lock);
	t->queues[priority].running--;
	pthread_mutex_unlock(&t->queue_lock);
}

static bool high_queue_full(struct rings *t)
{
	bool full;

	pthread_mutex_lock(&t->queue_lock);
	full = t->queues[PRIORITY_HIGH].waiting >= HIGH_QUEUE_MAX;
	pthread_mutex_unlock(&t->queue_lock);
	return full;
}

/* The worker looks for more of the same ring itself, or asks the watcher to. Modelled, with scan() and watch(), in
 * tests/models/ring.pml. */
static void form_next(struct rings *t, struct ring *r)
{
	struct job *job;

	if (high_queue_full(t))
		fst3fs_sem_post(t->watchers[r->iov->key.priority].submit.sem);
	else if (ring_form(r, &job, 1))
		enqueue(t, PRIORITY_HIGH, job, INT32_MAX);
}

/* Completes the job, forms the next one of its ring, and gives the worker on. */
static void job_done(struct job *job, void *arg)
{
	struct rings *t = arg;
	enum priority queue = job->queue;
	struct ring *r = job->ring;

	ring_get(r);
	ring_complete(r, job);
	if (!atomic_load(&t->stopped))
		form_next(t, r);
	ring_put(r);
	worker_free(t, queue);
	run_queued(t);
}

/* ---------------------------------------------------------------- watchers */

static bool scan(struct watcher *w)
{
	struct rings *t = w->rings;
	struct job *jobs[BATCH_JOBS_PER_SCAN];
	bool any = false;

	pthread_mutex_lock(&t->list_lock);
	for (struct ring *r = t->first; r; r = r->next) {
		int n;

		if (r->iov->key.priority != w->priority)
			continue;
		n = ring_form(r, jobs, BATCH_JOBS_PER_SCAN);
		for (int i = 0; i < n; i++)
			enqueue(t, w->priority, jobs[i], INT32_MAX);
		any |= n > 0;
	}
	pthread_mutex_unlock(&t->list_lock);
	return any;
}

static void *watch(void *arg)
{
	struct watcher *w = arg;

	realtime_thread("watcher");
	while (!atomic_load(&w->rings->stopped)) {
		/* Without a post there is no scan, as in the real daemon. */
		if (!submit_wait(&w->submit))
			continue;
		while (!atomic_load(&w->rings->stopped) && scan(w))
			run_queued(w->rings);
	}
	return NULL;
}

static int start_watcher(struct rings *t, enum priority priority)
{
	static const char letters[PRIORITIES] = {'h', 'n', 'l'};
	struct watcher *w = &t->watchers[priority];
	int rc;

	w->rings = t;
	w->priority = priority;
	rc = submit_create(&w->submit, letters[priority]);
	if (rc)
		return rc;
	rc = -pthread_create(&w->thread, NULL, watch, w);
	w->started = rc == 0;
	return rc;
}

int rings_start(const struct backend *b, int workers, struct rings **out)
{
	struct rings *t = calloc(1, sizeof(*t));
	int rc = 0;

	if (!t)
		return -ENOMEM;
	t->backend = b;
	pthread_mutex_init(&t->list_lock, NULL);
	pthread_mutex_init(&t->queue_lock, NULL);
	for (int i = 0; i < PRIORITIES; i++) {
		t->queues[i].last = &t->queues[i].first;
		t->queues[i].workers = i == PRIORITY_NORMAL ? workers : SIDE_WORKERS;
	}
	submit_sweep();
	for (int i = 0; i < PRIORITIES && rc == 0; i++)
		rc = start_watcher(t, i);
	if (rc) {
		rings_stop(t);
		rings_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void rings_stop(struct rings *t)
{
	atomic_store(&t->stopped, true);
	for (int i = 0; i < PRIORITIES; i++) {
		struct watcher *w = &t->watchers[i];

		if (!w->started)
			continue;
		fst3fs_sem_post(w->submit.sem);
		pthread_join(w->thread, NULL);
		w->started = false;
	}
}

static void free_all(struct ring *r)
{
	while (r) {
		struct ring *next = r->next;

		ring_abandon(r);
		ring_put(r);
		r = next;
	}
}

void rings_free(struct rings *t)
{
	if (!t)
		return;
	free_all(t->first);
	free_all(t->ended);
	for (int i = 0; i < PRIORITIES; i++)
		submit_destroy(&t->watchers[i].submit);
	pthread_mutex_destroy(&t->queue_lock);
	pthread_mutex_destroy(&t->list_lock);
	free(t);
}

const char *rings_semaphore_path(const struct rings *t, enum priority priority)
{
	return t->watchers[priority].submit.path;
}

/* ---------------------------------------------------------------- the list */

/* Deregistered rings whose last job has completed: only this list still refers to them. */
static void free_ended(struct rings *t)
{
	struct ring **p = &t->ended;

	while (*p) {
		struct ring *r = *p;

		if (atomic_load(&r->refs) > 1) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		ring_put(r);
	}
}

/* What a user has. */
struct share {
	int rings;
	int64_t requests; /* that there is room for */
};

static void add_to_share(struct share *has, const struct ring *r, uid_t uid)
{
	for (; r; r = r->next) {
		if (r->iov->owner.uid != uid)
			continue;
		has->rings++;
		has->requests += r->slots - 1;
	}
}

/* Rings that have ended count: requests of theirs still run. Under the list's lock. */
static bool fits_share(const struct rings *t, const struct ring *r)
{
	struct share has = {.rings = 1, .requests = r->slots - 1};

	add_to_share(&has, t->first, r->iov->owner.uid);
	add_to_share(&has, t->ended, r->iov->owner.uid);
	return has.rings <= USER_RINGS && has.requests <= USER_REQUESTS;
}

int rings_add(struct rings *t, struct iov *iov)
{
	struct ring *r;
	int rc = ring_new(t->backend, iov, &r);

	if (rc)
		return rc;
	pthread_mutex_lock(&t->list_lock);
	free_ended(t);
	rc = fits_share(t, r) ? 0 : -EMFILE;
	if (rc == 0) {
		r->next = t->first;
		t->first = r;
	}
	pthread_mutex_unlock(&t->list_lock);
	if (rc)
		ring_put(r);
	return rc;
}

void rings_remove(struct rings *t, const struct iov *iov)
{
	struct ring **p = &t->first, *r;

	pthread_mutex_lock(&t->list_lock);
	while ((r = *p)->iov != iov)
		p = &r->next;
	ring_close(r);
	*p = r->next;
	r->next = t->ended;
	t->ended = r;
	free_ended(t);
	pthread_mutex_unlock(&t->list_lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

struct fst3fs_pool {
	pthread_mutex_t lock;
	pthread_cond_t work; /* a task was queued, or the owner left */
	pthread_cond_t gone; /* the last thread ended */
	struct fst3fs_task *head, **tail;
	int queued, idle, threads, max_threads;
	bool left;	/* no more tasks will come */
	bool abandoned; /* the owner did not wait: the last thread frees the pool */
	char name[16];
};

struct beginning {
	void *(*fn)(void *);
	void *arg;
	char name[16];
};

static void *begin(void *arg)
{
	struct beginning b = *(struct beginning *)arg;

	free(arg);
	pthread_setname_np(pthread_self(), b.name);
	return b.fn(b.arg);
}

/* The thread may have ended, and nothing be left of it, as soon as it is made: it names itself, and is not detached
 * afterwards, since glibc's pthread_detach looks at a thread once more when that may be gone. */
static int create_detached(struct beginning *b)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, begin, b);
	pthread_attr_destroy(&attr);
	return -rc;
}

int fst3fs_thread_detach(const char *name, void *(*fn)(void *), void *arg)
{
	struct beginning *b = malloc(sizeof(*b));
	sigset_t all, before;
	int rc;

	if (!b)
		return -ENOMEM;
	*b = (struct beginning){.fn = fn, .arg = arg};
	snprintf(b->name, sizeof(b->name), "%s", name);
	sigfillset(&all);
	/* The new thread inherits the mask, so there is no moment in which it could take a signal. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = create_detached(b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc < 0)
		free(b);
	return rc;
}

static void pool_free(struct fst3fs_pool *pool)
{
	pthread_cond_destroy(&pool->gone);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static void *pool_thread(void *arg)
{
	struct fst3fs_pool *pool = arg;
	bool last;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct fst3fs_task *task = pool->head;

		if (!task) {
			if (pool->left)
				break;
			pool->idle++;
			pthread_cond_wait(&pool->work, &pool->lock);
			pool->idle--;
			continue;
		}
		pool->head = task->next;
		if (!pool->head)
			pool->tail = &pool->head;
		pool->queued--;
		pthread_mutex_unlock(&pool->lock);
		task->run(task);
		pthread_mutex_lock(&pool->lock);
	}
	/* tests/models/populator.pml: NO_TELL_OF_LAST, NOT_ABANDONED */
	last = --pool->threads == 0 && pool->abandoned;
	if (pool->threads == 0)
		pthread_cond_signal(&pool->gone);
	pthread_mutex_unlock(&pool->lock);
	if (last)
		pool_free(pool);
	return NULL;
}

struct fst3fs_pool *fst3fs_pool_new(const char *name, int max_threads)
{
	struct fst3fs_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->gone, NULL);
	pool->tail = &pool->head;
	pool->max_threads = max_threads;
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	return pool;
}

/* Modelled, with its threads and its end, in tests/models/populator.pml (NO_WORK_SIGNAL). */
int fst3fs_pool_run(struct fst3fs_pool *pool, struct fst3fs_task *task)
{
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	if (pool->idle <= pool->queued && pool->threads < pool->max_threads) {
		rc = fst3fs_thread_detach(pool->name, pool_thread, pool);
		if (rc == 0)
			pool->threads++;
	}
	if (pool->threads > 0) {
		rc = 0;
		task->next = NULL;
		*pool->tail = task;
		pool->tail = &task->next;
		pool->queued++;
		pthread_cond_signal(&pool->work);
	}
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

bool fst3fs_pool_leave(struct fst3fs_pool *pool, unsigned long long deadline_ns)
{
	struct timespec ts = fst3fs_timespec(deadline_ns);
	bool ended;
	int rc = 0;

	if (!pool)
		return true;
	pthread_mutex_lock(&pool->lock);
	pool->left = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->threads > 0 && rc == 0)
		rc = pthread_cond_clockwait(&pool->gone, &pool->lock, CLOCK_MONOTONIC, &ts);
	ended = pool->threads == 0;
	pool->abandoned = !ended;
	pthread_mutex_unlock(&pool->lock);
	if (ended)
		pool_free(pool);
	return ended;
}

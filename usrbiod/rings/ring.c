/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>

#include "batch.h"
#include "sharedsem.h"
#include "sigbus.h"

enum {
	/* An object's size is its maker's word alone, and a job needs memory for each request in it. */
	MAX_SLOTS = (1 << 20) + 1,
};

/* Lays the parts over the object as both sides derive them from its size. 0 or -EINVAL. */
static int lay_out(struct ring *r)
{
	uint8_t *p = r->iov->base;
	size_t size = r->iov->size, slots;

	if (size < USRBIO_RING_FIXED)
		return -EINVAL;
	slots = (size - USRBIO_RING_FIXED) / USRBIO_SLOT_BYTES;
	if (slots < 2 || slots > MAX_SLOTS)
		return -EINVAL;
	r->slots = (int)slots;
	r->header = (void *)p;
	p += sizeof(*r->header);
	r->args = (void *)p;
	p += slots * sizeof(*r->args);
	r->cqes = (void *)p;
	p += slots * sizeof(*r->cqes);
	r->sqes = (void *)p;
	p += slots * sizeof(*r->sqes);
	r->completed = (void *)p;
	return r->iov->key.io_depth > r->slots - 1 ? -EINVAL : 0;
}

int ring_new(const struct backend *b, struct iov *iov, struct ring **out)
{
	struct ring *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	atomic_init(&r->refs, 1);
	r->backend = b;
	r->iov = iov;
	rc = lay_out(r);
	if (rc == 0 && !(r->area = sigbus_watch(iov->base, iov->size)))
		rc = -ENFILE;
	if (rc) {
		free(r);
		return rc;
	}
	pthread_mutex_init(&r->lock, NULL);
	r->last = &r->first;
	iov_get(iov);
	__atomic_store_n(&r->header->sqe_tail, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&r->header->cqe_head, 0, __ATOMIC_SEQ_CST);
	sem_init(r->completed, 1, 0);
	*out = r;
	return 0;
}

void ring_get(struct ring *r)
{
	atomic_fetch_add(&r->refs, 1);
}

void ring_put(struct ring *r)
{
	if (atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	sigbus_unwatch(r->area);
	pthread_mutex_destroy(&r->lock);
	iov_put(r->iov);
	free(r);
}

void ring_close(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->closed = true;
	pthread_mutex_unlock(&r->lock);
}

static void refuse(struct ring *r, enum violation kind)
{
	if (!r->broken)
		stats_violation(r->backend->stats, kind);
	r->broken = true;
}

/* How many requests are queued, and how many may be given out. False when the client's indices make no sense. Modelled,
 * with what follows and the client's end, in tests/models/ring.pml. */
static bool read_queue(struct ring *r, int *queued, int *room)
{
	/* Pairs with the client's store that publishes the submission: its sqe and arg are visible after this, and so
	 * are the completions that it had taken before (tests/models/ring.pml: D_SQE_HEAD_LOAD_RELAXED,
	 * D_TAIL_BEFORE_HEAD). */
	int32_t head = __atomic_load_n(&r->header->sqe_head, __ATOMIC_SEQ_CST);
	/* Pairs with the client's store after it has read the completions: those places may be written again. */
	int32_t tail = __atomic_load_n(&r->header->cqe_tail, __ATOMIC_SEQ_CST);

	if (sigbus_hit(r->area)) {
		refuse(r, VIOLATION_MEMORY);
		return false;
	}
	if (head < 0 || head >= r->slots || tail < 0 || tail >= r->slots) {
		refuse(r, VIOLATION_HEADER);
		return false;
	}
	*queued = (head - r->next_sqe + r->slots) % r->slots;
	/* Jobs stay in the queue until those before them have completed. A head beyond the tail would have them, and
	 * their memory, grow without end. No honest client's has (tests/models/ring.pml: FULL_UNCHECKED). */
	if ((r->next_sqe - r->sqe_tail + r->slots) % r->slots + *queued >= r->slots) {
		refuse(r, VIOLATION_HEADER);
		return false;
	}
	*room = r->slots - 1 - r->running - (r->cqe_head - tail + r->slots) % r->slots;
	/* The real daemon forms empty jobs here, which spoil its order; this one waits, and tells. */
	if (*queued > 0 && *room <= 0 && r->iov->key.io_depth == 0)
		stats_violation(r->backend->stats, VIOLATION_OVERRUN);
	return true;
}

static uint64_t load64(const void *p)
{
	return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
}

/* One copy, word by word: what is checked is what is used, whatever the client writes meanwhile. */
static void copy_arg(const struct usrbio_arg *from, struct usrbio_arg *to)
{
	uint64_t id[2] = {load64(from->buf_id), load64(from->buf_id + 8)};

	__builtin_memcpy(to->buf_id, id, sizeof(to->buf_id));
	to->buf_off = load64(&from->buf_off);
	to->file_ino = load64(&from->file_ino);
	to->file_off = load64(&from->file_off);
	to->len = load64(&from->len);
}

static void take_request(struct ring *r, struct request *req)
{
	const struct usrbio_sqe *sqe = &r->sqes[r->next_sqe];

	r->next_sqe = (r->next_sqe + 1) % r->slots;
	req->index = __atomic_load_n(&sqe->index, __ATOMIC_RELAXED);
	req->userdata = load64(&sqe->userdata);
	if (req->index < 0 || req->index >= r->slots) {
		stats_violation(r->backend->stats, VIOLATION_INDEX);
		req->result = -EINVAL;
		return;
	}
	copy_arg(&r->args[req->index], &req->arg);
}

static struct job *form_one(struct ring *r)
{
	const struct key *key = &r->iov->key;
	int queued, room, n;
	struct job *job;

	if (r->closed || r->broken || !read_queue(r, &queued, &room))
		return NULL;
	n = batch_next(key->io_depth, key->timeout_ms, queued, room);
	job = n > 0 ? job_new(r->backend, r->iov, n) : NULL;
	if (!job)
		return NULL;
	for (int i = 0; i < n; i++)
		take_request(r, &job->requests[i]);
	job->ring = r;
	r->running += n;
	*r->last = job;
	r->last = &job->next_in_ring;
	ring_get(r);
	stats_job_formed(r->backend->stats, n);
	return job;
}

int ring_form(struct ring *r, struct job **jobs, int max)
{
	int n = 0;

	pthread_mutex_lock(&r->lock);
	while (n < max && (jobs[n] = form_one(r)))
		n++;
	pthread_mutex_unlock(&r->lock);
	return n;
}

static void write_completion(struct ring *r, const struct request *req)
{
	struct usrbio_cqe *cqe = &r->cqes[r->cqe_head];

	cqe->index = req->index;
	cqe->reserved = 0;
	cqe->result = req->result;
	cqe->userdata = req->userdata;
	r->cqe_head = (r->cqe_head + 1) % r->slots;
}

/* Moves sqe_tail past the jobs that have completed with all before them. Returns them, to be freed. */
static struct job *retire(struct ring *r)
{
	struct job *retired = NULL, *job;

	while ((job = r->first) && job->completed) {
		r->first = job->next_in_ring;
		if (!r->first)
			r->last = &r->first;
		r->sqe_tail = (r->sqe_tail + job->count) % r->slots;
		job->next_in_ring = retired;
		retired = job;
	}
	return retired;
}

static void free_jobs(struct job *job)
{
	while (job) {
		struct job *next = job->next_in_ring;

		job_free(job);
		job = next;
	}
}

void ring_complete(struct ring *r, struct job *job)
{
	struct job *retired;

	pthread_mutex_lock(&r->lock);
	/* read_queue() gave out no more requests than there are places, and the modulus holds whatever the client does.
	 */
	for (int i = 0; i < job->count; i++)
		write_completion(r, &job->requests[i]);
	/* Pairs with the client's load of cqe_head: the entries are visible before it
	 * (tests/models/ring.pml: D_CQE_HEAD_STORE_RELAXED). */
	__atomic_store_n(&r->header->cqe_head, r->cqe_head, __ATOMIC_SEQ_CST);
	r->running -= job->count;
	job->completed = true;
	retired = retire(r);
	/* Pairs with the client's check for a full queue: the entries before it have been read. */
	__atomic_store_n(&r->header->sqe_tail, r->sqe_tail, __ATOMIC_SEQ_CST);
	/* Last: whoever it wakes finds the completions (tests/models/ring.pml: D_POST_BEFORE_HEAD). */
	fst3fs_sem_post(r->completed);
	if (sigbus_hit(r->area))
		refuse(r, VIOLATION_MEMORY);
	pthread_mutex_unlock(&r->lock);
	free_jobs(retired);
	ring_put(r);
}

void ring_abandon(struct ring *r)
{
	struct job *job;

	while ((job = r->first)) {
		bool completed = job->completed;

		r->first = job->next_in_ring;
		job_release(job);
		job_free(job);
		if (!completed)
			ring_put(r);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pread on any file system. A few threads read; each request is one task of theirs.
 *
 * Threads may hang in the kernel; closing waits for them, so that nothing that they touch goes before they do.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "io.h"
#include "pages.h"
#include "pool.h"
#include "pread.h"

/* Enough to keep a local disk or a network file system busy; each takes one processor at most. */
#define THREADS 8

struct io_posix {
	struct fst3fs_io io;
	struct fst3fs_pool *pool;
	pthread_mutex_t lock;
	struct fst3fs_waker *waker; /* NULL once the transport was given up: nobody waits any more */
	struct fst3fs_io_req *landed, **landed_end;
};

/* One request on its way to a thread. */
struct job {
	struct fst3fs_task task;
	struct io_posix *io;
	struct fst3fs_io_req *req;
	int fd; /* a copy: once the transport was given up the file may be gone */
};

/* ------------------------------------------------------------------ on the pool's threads */

/* Modelled, with posix_close, in tests/models/session.pml. */
static void job_run(struct fst3fs_task *task)
{
	struct job *job = (struct job *)task;
	struct io_posix *p = job->io;
	struct fst3fs_io_req *req = job->req;
	bool wanted;

	pthread_mutex_lock(&p->lock);
	wanted = p->waker != NULL;
	pthread_mutex_unlock(&p->lock);
	if (wanted)
		req->result = fst3fs_pread_fully(job->fd, req->buf, req->length, req->offset);
	free(job);
	pthread_mutex_lock(&p->lock);
	req->next = NULL;
	*p->landed_end = req;
	p->landed_end = &req->next;
	/* Inside the lock: once the request has been reaped and the transport closed, neither may be touched. */
	if (p->waker)
		fst3fs_waker_post(p->waker);
	pthread_mutex_unlock(&p->lock);
}

/* ------------------------------------------------------------------ the table's functions */

static void posix_close(struct fst3fs_io *io, bool given_up, uint64_t deadline_ns)
{
	struct io_posix *p = (struct io_posix *)io;

	(void)given_up;
	(void)deadline_ns;
	pthread_mutex_lock(&p->lock);
	p->waker = NULL;
	pthread_mutex_unlock(&p->lock);
	/* Without requests in flight the threads are idle, and end at once. */
	fst3fs_pool_leave(p->pool, UINT64_MAX / 2);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int posix_open(const struct fst3fs_io_config *config, struct fst3fs_io **out, struct fst3fs_error *err)
{
	struct io_posix *p = calloc(1, sizeof(*p));

	if (p)
		p->pool = fst3fs_pool_new("fst3fs-pread", THREADS);
	if (!p || !p->pool) {
		free(p);
		return fst3fs_err_set(err, -ENOMEM, "no memory for a transport");
	}
	p->io.ops = &fst3fs_io_posix;
	p->waker = config->waker;
	p->landed_end = &p->landed;
	pthread_mutex_init(&p->lock, NULL);
	*out = &p->io;
	return 0;
}

static const char *posix_client(const struct fst3fs_io *io)
{
	(void)io;
	return "";
}

static int posix_region_new(struct fst3fs_io *io, size_t size, size_t block_size, int numa, struct fst3fs_region **out,
			    struct fst3fs_error *err)
{
	struct fst3fs_region *region = calloc(1, sizeof(*region));
	void *base;
	int rc;

	(void)io;
	(void)block_size; /* nobody registers this memory block by block */
	(void)numa;	  /* the first touch decides, and that is the reading thread's */
	if (!region)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a buffer");
	region->size = fst3fs_page_round(size);
	rc = fst3fs_pages_map(region->size, &base);
	if (rc < 0) {
		free(region);
		return fst3fs_err_set(err, rc, "no memory for a buffer of %zu bytes: %s", size, fst3fs_strerror(rc));
	}
	region->ops = &fst3fs_io_posix;
	region->base = base;
	*out = region;
	return 0;
}

static void posix_region_free(struct fst3fs_region *region)
{
	munmap(region->base, region->size);
	free(region);
}

static int posix_start(struct fst3fs_io *io, struct fst3fs_io_req *req)
{
	struct io_posix *p = (struct io_posix *)io;
	struct job *job = malloc(sizeof(*job));
	int rc;

	if (!job)
		return -ENOMEM;
	*job = (struct job){.task.run = job_run, .io = p, .req = req, .fd = req->file->fd};
	rc = fst3fs_pool_run(p->pool, &job->task);
	if (rc < 0)
		free(job);
	return rc;
}

static int posix_reap(struct fst3fs_io *io, struct fst3fs_io_req **out, int max)
{
	struct io_posix *p = (struct io_posix *)io;
	int n = 0;

	pthread_mutex_lock(&p->lock);
	while (n < max && p->landed) {
		out[n++] = p->landed;
		p->landed = p->landed->next;
	}
	if (!p->landed)
		p->landed_end = &p->landed;
	pthread_mutex_unlock(&p->lock);
	return n;
}

const struct fst3fs_io_ops fst3fs_io_posix = {
	.size = sizeof(struct fst3fs_io_ops),
	.name = "posix",
	.descr = "pread on any file system",
	.open = posix_open,
	.close = posix_close,
	.client = posix_client,
	.region_new = posix_region_new,
	.region_free = posix_region_free,
	.start = posix_start,
	.reap = posix_reap,
};

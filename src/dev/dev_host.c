/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host memory: memcpy, on helpers. The engine's thread has the reader's lock, which whoever takes tensors or adds
 * ranges meanwhile waits for, so that it copies only what is done sooner than handed over.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "bulk.h"
#include "dev.h"
#include "pool.h"

/* Bytes that are copied in some ten microseconds. */
#define SMALL (64ul << 10)

struct dev_host {
	struct fst3fs_dev dev;
	struct fst3fs_pool *helpers; /* NULL: there is one processor */
	struct fst3fs_waker *waker;
	struct fst3fs_populator *populator;
	pthread_mutex_t lock;
	struct fst3fs_dev_copy *done;
};

/* A helper's part. */
struct job {
	struct fst3fs_task task;
	struct dev_host *host;
	struct fst3fs_dev_copy *copy;
};

/* `populator`: who may be about to make the memory resident; NULL = faults in a few pages cost less than to ask. */
static void copy_bytes(struct fst3fs_populator *populator, const struct fst3fs_dev_copy *copy)
{
	for (size_t i = 0; i < copy->nparts; i++) {
		const struct fst3fs_dev_part *part = &copy->parts[i];

		fst3fs_populator_settle(populator, part->dst, part->length);
		fst3fs_bulk_copy((void *)(uintptr_t)part->dst, part->src, part->length);
	}
}

/* Under the lock. */
static void push_done(struct dev_host *host, struct fst3fs_dev_copy *copy)
{
	copy->status = 0;
	copy->next = host->done;
	host->done = copy;
}

static void job_run(struct fst3fs_task *task)
{
	struct job *job = (struct job *)task;
	struct dev_host *host = job->host;
	struct fst3fs_dev_copy *copy = job->copy;

	free(job);
	copy_bytes(host->populator, copy);
	pthread_mutex_lock(&host->lock);
	push_done(host, copy);
	/* Inside the lock: once this copy has been reaped the device may be closed. */
	fst3fs_waker_post(host->waker);
	pthread_mutex_unlock(&host->lock);
}

/* ------------------------------------------------------------------ the table's functions */

static int host_match(uint64_t address, int *ordinal, struct fst3fs_error *err)
{
	(void)address; /* asked last: what is nobody else's is the host's */
	(void)err;
	*ordinal = 0;
	return 1;
}

/* Its helpers have used the populator, which the reader ends after this (tests/models/populator.pml). What they copy
 * ends (tests/models/session.pml). */
static bool host_close(struct fst3fs_dev *dev, bool given_up)
{
	struct dev_host *host = (struct dev_host *)dev;

	(void)given_up; /* a memcpy always ends */
	fst3fs_pool_leave(host->helpers, UINT64_MAX / 2);
	pthread_mutex_destroy(&host->lock);
	free(host);
	return true;
}

static int host_open(int ordinal, const struct fst3fs_dev_config *config, struct fst3fs_dev **out,
		     struct fst3fs_error *err)
{
	struct dev_host *host = calloc(1, sizeof(*host));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	/* One thread copies a few GB/s; half of the processors and one more, nine at most, exceed any link there is. */
	if (host && cpus >= 2)
		host->helpers = fst3fs_pool_new("fst3fs-copy", cpus >= 16 ? 9 : (int)(cpus / 2) + 1);
	if (!host || (cpus >= 2 && !host->helpers)) {
		free(host);
		return fst3fs_err_set(err, -ENOMEM, "no memory for a device");
	}
	host->dev = (struct fst3fs_dev){.ops = &fst3fs_dev_host, .ordinal = ordinal, .name = "host"};
	host->waker = config->waker;
	host->populator = config->populator;
	pthread_mutex_init(&host->lock, NULL);
	*out = &host->dev;
	return 0;
}

static bool is_small(const struct fst3fs_dev_copy *copy)
{
	size_t n = 0;

	for (size_t i = 0; i < copy->nparts && n < SMALL; i++)
		n += copy->parts[i].length;
	return n < SMALL;
}

/* Gives the copy to a helper; false when none is to be had. */
static bool delegate(struct dev_host *host, struct fst3fs_dev_copy *copy)
{
	struct job *job = host->helpers ? malloc(sizeof(*job)) : NULL;

	if (!job)
		return false;
	*job = (struct job){.task.run = job_run, .host = host, .copy = copy};
	if (fst3fs_pool_run(host->helpers, &job->task) == 0)
		return true;
	free(job);
	return false;
}

static int host_copy(struct fst3fs_dev *dev, struct fst3fs_dev_copy *copy, bool wait, struct fst3fs_error *err)
{
	struct dev_host *host = (struct dev_host *)dev;
	bool small = is_small(copy);

	(void)err;
	if (!wait && !small && delegate(host, copy))
		return 0;
	copy_bytes(small ? NULL : host->populator, copy);
	pthread_mutex_lock(&host->lock);
	push_done(host, copy);
	pthread_mutex_unlock(&host->lock);
	return 0;
}

static int host_reap(struct fst3fs_dev *dev, struct fst3fs_dev_copy **out, int max, struct fst3fs_error *err)
{
	struct dev_host *host = (struct dev_host *)dev;
	int n = 0;

	(void)err;
	pthread_mutex_lock(&host->lock);
	while (n < max && host->done) {
		out[n++] = host->done;
		host->done = host->done->next;
	}
	pthread_mutex_unlock(&host->lock);
	return n;
}

static int host_page_locked(const struct fst3fs_dev *dev)
{
	(void)dev;
	return -1;
}

const struct fst3fs_dev_ops fst3fs_dev_host = {
	.size = sizeof(struct fst3fs_dev_ops),
	.name = "host",
	.descr = "memcpy",
	.match = host_match,
	.open = host_open,
	.close = host_close,
	.copy = host_copy,
	.reap = host_reap,
	.page_locked = host_page_locked,
};

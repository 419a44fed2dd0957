/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that reads reach without a copy. It belongs to its user and may outlive the reader, so it is registered by a
 * transport of its own that carries no requests, and not by a session, which can be given up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "away.h"

struct fst3fs_memory *fst3fs_memory_find(struct fst3fs_reader *r, uint64_t address)
{
	for (struct fst3fs_memory *m = r->memories; m; m = m->next)
		if (fst3fs_inside(m->region, address, 1) == FST3FS_INSIDE)
			return m;
	return NULL;
}

/* The transport that memory is registered with: one of the mount that stands there now, whose number is in use for as
 * long as anything is registered with it. Under memory_lock. */
static int ensure_io(struct fst3fs_reader *r, struct fst3fs_error *err)
{
	const struct fst3fs_io_config config = {
		.mount_point = r->mount_point,
		.sdk_path = r->sdk_path,
		.timeout_ms = r->timeout_ms,
		.waker = &r->memory_waker,
	};
	struct stat st = {0};

	if (r->main && stat(r->mount_point, &st) != 0)
		return fst3fs_err_set(err, -errno, "mount point: %s", fst3fs_strerror(errno));
	if (r->memory_io && st.st_dev == r->memory_dev)
		return 0;
	if (r->memory_io)
		r->memory_io->ops->close(r->memory_io, false, 0);
	r->memory_io = NULL;
	r->memory_dev = st.st_dev;
	return (r->main ? r->main : &fst3fs_io_posix)->open(&config, &r->memory_io, err);
}

/* The making of one. */
struct making {
	struct fst3fs_away away;
	uint64_t size;
	struct fst3fs_region *region;
	dev_t mount_dev;
};

static void make(struct fst3fs_away *a)
{
	struct making *m = (struct making *)a;
	struct fst3fs_reader *r = a->reader;

	pthread_mutex_lock(&r->memory_lock);
	a->rc = ensure_io(r, &a->err);
	if (a->rc == 0)
		a->rc = r->memory_io->ops->region_new(r->memory_io, m->size, fst3fs_layout_block(m->size), -1,
						      &m->region, &a->err);
	m->mount_dev = r->memory_dev;
	pthread_mutex_unlock(&r->memory_lock);
}

static void unmake(struct fst3fs_away *a)
{
	struct making *m = (struct making *)a;

	if (m->region)
		m->region->ops->region_free(m->region);
	free(m);
}

static int region_new(struct fst3fs_reader *r, struct fst3fs_memory *out, struct fst3fs_error *err)
{
	struct making *m = calloc(1, sizeof(*m));
	struct fst3fs_away *a = &m->away;
	int rc;

	if (!m)
		return fst3fs_err_set(err, -ENOMEM, "no memory");
	m->away.run = make;
	m->away.undo = unmake;
	m->size = out->size;
	rc = fst3fs_away_run(r, &a, err);
	if (rc == 0) {
		out->region = m->region;
		out->mount_dev = m->mount_dev;
	}
	if (a)
		free(m);
	return rc;
}

int fst3fs_alloc(struct fst3fs_reader *r, uint64_t size, struct fst3fs_memory **out, struct fst3fs_error *err)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct fst3fs_memory *m;
	int rc;

	fst3fs_err_reset(err);
	rc = fst3fs_reader_check(r, err);
	if (rc < 0)
		return rc;
	if (size == 0 || size > ram)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "%" PRIu64 " bytes asked for: must be between 1 and this machine's %" PRIu64,
					   size, ram);
	m = calloc(1, sizeof(*m));
	if (!m)
		return fst3fs_err_set(err, -ENOMEM, "no memory");
	m->size = size;
	m->refs = 1;
	rc = region_new(r, m, err);
	if (rc < 0) {
		free(m);
		return rc;
	}
	m->reader = r;
	pthread_mutex_lock(&r->lock);
	m->next = r->memories;
	r->memories = m;
	r->refs++; /* the memory is in the reader's list until it is freed */
	pthread_mutex_unlock(&r->lock);
	*out = m;
	return 0;
}

void *fst3fs_memory_address(const struct fst3fs_memory *m)
{
	return m->region->base;
}

uint64_t fst3fs_memory_size(const struct fst3fs_memory *m)
{
	return m->size;
}

void fst3fs_memory_free(struct fst3fs_memory *m)
{
	struct fst3fs_reader *r;
	struct fst3fs_memory **at;
	bool last;

	if (!m)
		return;
	r = m->reader;
	if (r->pid != getpid())
		return; /* the parent's; the lock may have been held when the process forked */
	pthread_mutex_lock(&r->lock);
	last = --m->refs == 0;
	for (at = &r->memories; last && *at != m; at = &(*at)->next)
		;
	if (last)
		*at = m->next;
	pthread_mutex_unlock(&r->lock);
	if (!last)
		return;
	m->region->ops->region_free(m->region);
	free(m);
	fst3fs_reader_unref(r);
}

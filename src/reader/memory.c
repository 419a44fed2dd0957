/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that reads reach without a copy. It belongs to its user and may outlive the reader, so it is registered by a
 * transport of its own that carries no requests, and not by a session, which can be given up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "reader_i.h"

struct fst3fs_memory *fst3fs_memory_find(struct fst3fs_reader *r, uint64_t address)
{
	for (struct fst3fs_memory *m = r->memories; m; m = m->next)
		if (fst3fs_inside(m->region, address, 1) == FST3FS_INSIDE)
			return m;
	return NULL;
}

/* Under memory_lock. */
static int ensure_io(struct fst3fs_reader *r, struct fst3fs_error *err)
{
	const struct fst3fs_io_config config = {
		.mount_point = r->mount_point,
		.sdk_path = r->sdk_path,
		.timeout_ms = r->timeout_ms,
		.waker = &r->memory_waker,
		.log = &r->log,
	};

	if (r->memory_io)
		return 0;
	return (r->main ? r->main : &fst3fs_io_posix)->open(&config, &r->memory_io, err);
}

static int region_new(struct fst3fs_reader *r, uint64_t size, struct fst3fs_region **out, struct fst3fs_error *err)
{
	int rc;

	pthread_mutex_lock(&r->memory_lock);
	rc = ensure_io(r, err);
	if (rc == 0)
		rc = r->memory_io->ops->region_new(r->memory_io, size, fst3fs_layout_block(size), -1, out, err);
	pthread_mutex_unlock(&r->memory_lock);
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
	rc = region_new(r, size, &m->region, err);
	if (rc < 0) {
		free(m);
		return rc;
	}
	m->size = size;
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

	if (!m)
		return;
	r = m->reader;
	if (r->pid != getpid())
		return; /* the parent's; the lock may have been held when the process forked */
	pthread_mutex_lock(&r->lock);
	for (at = &r->memories; *at != m; at = &(*at)->next)
		;
	*at = m->next;
	pthread_mutex_unlock(&r->lock);
	/* A thread of this process may still be about to write into memory that was given up (the operating system's
	 * reads, when they hang): such memory stays mapped for ever. */
	if (!m->lost || m->region->ops != &fst3fs_io_posix)
		m->region->ops->region_free(m->region);
	free(m);
	fst3fs_reader_unref(r);
}

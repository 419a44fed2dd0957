/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that reads reach without a copy. It belongs to its user and may outlive the reader, so it is registered by a
 * transport of its own that carries no requests, and not by a session, which can be given up.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory_i.h"
#include "offload.h"

struct fst3fs_area_memory {
	struct fst3fs_memory memory; /* first, so that what users hold leads back to it */
	struct fst3fs_area area;
	struct fst3fs_reader *reader; /* a reference: closing a reader leaves its memory valid */
	struct fst3fs_area_memory *next;
};

/* The memory that `address` lies in, or NULL. Under the engine's lock. */
static struct fst3fs_area *find(struct fst3fs_reader *r, uint64_t address)
{
	for (struct fst3fs_area_memory *m = r->memories; m; m = m->next)
		if (fst3fs_inside(m->area.region, address, 1) == FST3FS_INSIDE)
			return &m->area;
	return NULL;
}

int fst3fs_reader_place(struct fst3fs_reader *r, const struct fst3fs_request *q, struct fst3fs_area **area, bool *own,
			struct fst3fs_error *err)
{
	enum fst3fs_inside inside = FST3FS_OUTSIDE;
	bool lost;
	int rc = 0;

	pthread_mutex_lock(&r->engine.lock);
	if (q->dst && r->engine.session)
		inside = fst3fs_inside(r->engine.session->staging, q->dst, (uint64_t)q->length);
	*area = q->dst ? find(r, q->dst) : NULL;
	lost = *area && (*area)->lost;
	pthread_mutex_unlock(&r->engine.lock);
	*own = inside == FST3FS_INSIDE;
	if (inside == FST3FS_ACROSS ||
	    (*area && fst3fs_inside((*area)->region, q->dst, (uint64_t)q->length) != FST3FS_INSIDE))
		rc = fst3fs_reader_refuse(err, "length", q->length, "goes across the border of the reader's memory");
	else if (lost)
		rc = fst3fs_err_set(
			err, -EIO, "the memory was given up: a read into it never came back and may still write there");
	fst3fs_err_set_path(err, q->path);
	return rc;
}

void fst3fs_reader_count_memory(const struct fst3fs_reader *r, uint64_t *length, uint64_t *huge)
{
	for (const struct fst3fs_area_memory *m = r->memories; m; m = m->next) {
		*length += m->memory.size;
		*huge += m->area.region->huge;
	}
}

/* The transport that memory is registered with: one of the mount that stands there now, whose number is in use for as
 * long as anything is registered with it. Under memory_lock. */
static int ensure_io(struct fst3fs_reader *r, struct fst3fs_error *err)
{
	const struct fst3fs_io_config config = {
		.mount_point = r->engine.mount_point,
		.sdk_path = r->engine.sdk_path,
		.timeout_ms = r->engine.timeout_ms,
		.waker = &r->memory_waker,
	};
	struct stat st = {0};

	if (r->engine.main && stat(r->engine.mount_point, &st) != 0)
		return fst3fs_err_set(err, -errno, "mount point: %s", fst3fs_strerror(errno));
	if (r->memory_io && st.st_dev == r->memory_dev)
		return 0;
	if (r->memory_io)
		r->memory_io->ops->close(r->memory_io, false, 0);
	r->memory_io = NULL;
	r->memory_dev = st.st_dev;
	return (r->engine.main ? r->engine.main : &fst3fs_io_posix)->open(&config, &r->memory_io, err);
}

/* The making of one. */
struct making {
	struct fst3fs_offload offload;
	uint64_t size;
	struct fst3fs_region *region;
	dev_t mount_dev;
};

static void make(struct fst3fs_offload *a)
{
	struct making *m = (struct making *)a;
	struct fst3fs_reader *r = (struct fst3fs_reader *)a->engine;

	pthread_mutex_lock(&r->memory_lock);
	a->rc = ensure_io(r, &a->err);
	if (a->rc == 0)
		a->rc = r->memory_io->ops->region_new(r->memory_io, m->size, fst3fs_layout_block(m->size), -1,
						      &m->region, &a->err);
	m->mount_dev = r->memory_dev;
	pthread_mutex_unlock(&r->memory_lock);
}

static void unmake(struct fst3fs_offload *a)
{
	struct making *m = (struct making *)a;

	if (m->region)
		m->region->ops->region_free(m->region);
	free(m);
}

static int region_new(struct fst3fs_reader *r, struct fst3fs_area_memory *out, struct fst3fs_error *err)
{
	struct making *m = calloc(1, sizeof(*m));
	struct fst3fs_offload *a;
	int rc;

	if (!m)
		return fst3fs_err_set(err, -ENOMEM, "no memory");
	a = &m->offload;
	m->offload.run = make;
	m->offload.undo = unmake;
	m->size = out->memory.size;
	rc = fst3fs_offload_run(&r->engine, &a, err);
	if (rc == 0) {
		out->area.region = m->region;
		out->memory.base = m->region->base;
		out->area.mount_dev = m->mount_dev;
	}
	if (a)
		free(m);
	return rc;
}

/* Nobody uses it or writes into it any more. Modelled in tests/models/session.pml. */
static void area_free(struct fst3fs_area *area)
{
	struct fst3fs_area_memory *m =
		(struct fst3fs_area_memory *)((char *)area - offsetof(struct fst3fs_area_memory, area));
	struct fst3fs_reader *r = m->reader;
	struct fst3fs_area_memory **at;

	pthread_mutex_lock(&r->engine.lock);
	for (at = &r->memories; *at != m; at = &(*at)->next)
		;
	*at = m->next;
	pthread_mutex_unlock(&r->engine.lock);
	area->region->ops->region_free(area->region);
	free(m);
	fst3fs_engine_unref(&r->engine);
}

static void memory_free(struct fst3fs_memory *memory)
{
	struct fst3fs_area_memory *m = (struct fst3fs_area_memory *)memory;

	/* In a child after fork it is the parent's; the lock may have been held when the process forked. */
	if (m->reader->pid == getpid())
		fst3fs_area_put(&m->area);
}

int fst3fs_alloc(struct fst3fs_reader *r, uint64_t size, struct fst3fs_memory **out, struct fst3fs_error *err)
{
	struct fst3fs_area_memory *m;
	int rc;

	fst3fs_err_reset(err);
	rc = fst3fs_reader_check(r, err);
	if (rc == 0)
		rc = fst3fs_memory_check_size(size, err);
	if (rc < 0)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m)
		return fst3fs_err_set(err, -ENOMEM, "no memory");
	m->memory = (struct fst3fs_memory){.size = size, .free = memory_free};
	m->area.refs = 1;
	m->area.free = area_free;
	rc = region_new(r, m, err);
	if (rc < 0) {
		free(m);
		return rc;
	}
	m->reader = r;
	pthread_mutex_lock(&r->engine.lock);
	m->next = r->memories;
	r->memories = m;
	r->engine.refs++; /* the memory is in the reader's list until it is freed */
	pthread_mutex_unlock(&r->engine.lock);
	*out = &m->memory;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: checks of arguments, the call through the engine, and what there is to say about it. */
#include <errno.h>
#include <stdlib.h>

#include "reader_i.h"

static int check_range(const struct fst3fs_request *q, struct fst3fs_error *err)
{
	int rc = 0;

	if (q->offset < 0)
		rc = fst3fs_reader_refuse(err, "offset", q->offset, "must not be negative");
	else if (q->length < 0)
		rc = fst3fs_reader_refuse(err, "length", q->length, "must not be negative");
	else if (q->length > INT64_MAX - q->offset)
		rc = fst3fs_reader_refuse(err, "length", q->length, "goes beyond the largest file offset");
	else if (q->dst && (uint64_t)q->length > UINT64_MAX - q->dst)
		rc = fst3fs_reader_refuse(err, "length", q->length, "goes beyond the end of the address space");
	fst3fs_err_set_path(err, q->path);
	return rc;
}

/* What kind of memory the destination is, as far as this reader has made it. */
static int classify(struct fst3fs_reader *r, struct fst3fs_entry *e, bool *own_buffer, struct fst3fs_error *err)
{
	const struct fst3fs_request *q = e->request;
	enum fst3fs_inside inside = FST3FS_OUTSIDE;
	bool lost;
	int rc = 0;

	pthread_mutex_lock(&r->engine.lock);
	if (q->dst && r->engine.session)
		inside = fst3fs_inside(r->engine.session->staging, q->dst, (uint64_t)q->length);
	e->area = q->dst ? fst3fs_memory_find(r, q->dst) : NULL;
	lost = e->area && e->area->lost;
	pthread_mutex_unlock(&r->engine.lock);
	*own_buffer = inside == FST3FS_INSIDE;
	if (inside == FST3FS_ACROSS ||
	    (e->area && fst3fs_inside(e->area->region, q->dst, (uint64_t)q->length) != FST3FS_INSIDE))
		rc = fst3fs_reader_refuse(err, "length", q->length, "goes across the border of the reader's memory");
	else if (lost)
		rc = fst3fs_err_set(
			err, -EIO, "the memory was given up: a read into it never came back and may still write there");
	fst3fs_err_set_path(err, q->path);
	return rc;
}

/* Ends a session whose mount was replaced, unless another call has done so. */
static int end_stale_session(struct fst3fs_reader *r)
{
	struct fst3fs_session *s;
	int rc = fst3fs_engine_pause(&r->engine, true, &s);

	if (rc < 0)
		return rc;
	if (s)
		fst3fs_session_free(s, false, 0);
	fst3fs_engine_resume(&r->engine);
	if (s)
		fst3fs_log(&r->engine.log, FST3FS_LOG_WARNING, "reader: the mount %s was replaced; registering anew",
			   r->engine.mount_point);
	return 0;
}

/* Sessions die with the mount they were made on; a new one takes over and the call is read again. */
static int run_call(struct fst3fs_reader *r, struct fst3fs_call *c, struct fst3fs_error *err)
{
	int rc = fst3fs_engine_run(&r->engine, c, err);

	if (!c->stale || c->given_up || c->interrupted_ns || end_stale_session(r) < 0)
		return rc;
	for (size_t i = 0; i < c->count; i++)
		c->entries[i] =
			(struct fst3fs_entry){.request = c->entries[i].request, .call = c, .area = c->entries[i].area};
	c->opened = c->cursor = c->done_count = 0;
	c->done = c->stale = false;
	fst3fs_err_reset(err);
	return fst3fs_engine_run(&r->engine, c, err);
}

static void log_outcome(struct fst3fs_reader *r, const struct fst3fs_call *c)
{
	bool say;

	pthread_mutex_lock(&r->engine.lock);
	say = c->off_mount && !r->said_off_mount;
	r->said_off_mount |= say;
	pthread_mutex_unlock(&r->engine.lock);
	if (say)
		fst3fs_log(&r->engine.log, FST3FS_LOG_INFO,
			   "reader: %.1024s is not on the 3FS mount %.512s: read through the operating system",
			   c->off_mount, r->engine.mount_point);
	if (c->given_up)
		fst3fs_log(&r->engine.log, FST3FS_LOG_WARNING, "reader: %.256s: %s", c->err->path, c->err->text);
}

/* What a callback has asked for while the call ran. */
static void release_if_asked(struct fst3fs_reader *r)
{
	bool asked;

	pthread_mutex_lock(&r->engine.lock);
	asked = r->release_asked && !fst3fs_engine_inside(&r->engine);
	if (asked)
		r->release_asked = false;
	pthread_mutex_unlock(&r->engine.lock);
	if (asked)
		fst3fs_release(r);
}

/* What devices have to say is collected under the lock and said without it. */
static void log_remarks(struct fst3fs_reader *r)
{
	char line[1024];
	int level;

	do {
		pthread_mutex_lock(&r->engine.lock);
		level = r->engine.session ? fst3fs_session_remark(r->engine.session, line, sizeof(line)) : 0;
		pthread_mutex_unlock(&r->engine.lock);
		if (level)
			fst3fs_log(&r->engine.log, level, "reader: %s", line);
	} while (level);
}

/* Checks every range before the first is read. */
static int prepare(struct fst3fs_reader *r, struct fst3fs_call *c, struct fst3fs_request *requests,
		   struct fst3fs_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < c->count; i++)
		requests[i].result = -ECANCELED;
	for (size_t i = 0; i < c->count && rc == 0; i++) {
		bool own = false;

		c->entries[i] = (struct fst3fs_entry){.request = &requests[i], .call = c};
		rc = check_range(&requests[i], err);
		if (rc == 0)
			rc = classify(r, &c->entries[i], &own, err);
		if (rc == 0 && own && c->count > 1)
			rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
						 "the reader's own buffer serves one request at a time");
		c->own_buffer = own;
		if (rc < 0) {
			err->index = (int64_t)i;
			requests[i].result = rc;
		}
	}
	return rc;
}

int fst3fs_read_many(struct fst3fs_reader *r, struct fst3fs_request *requests, size_t n, int64_t chunk_size,
		     unsigned flags, struct fst3fs_error *err)
{
	struct fst3fs_call c = {.count = n, .in_turn = (flags & FST3FS_READ_IN_TURN) != 0};
	struct fst3fs_error local;
	int rc;

	err = err ? err : &local;
	fst3fs_err_reset(err);
	rc = fst3fs_reader_check(r, err);
	if (rc < 0)
		return rc;
	if (chunk_size < 0)
		return fst3fs_reader_refuse(err, "chunk_size", chunk_size, "must not be negative");
	if (fst3fs_engine_inside(&r->engine))
		return fst3fs_err_set_kind(
			err, FST3FS_ERROR_STATE, -EDEADLK,
			"a callback or signal handler reads through the reader whose read it interrupted");
	if (flags & ~(unsigned)FST3FS_READ_IN_TURN)
		return fst3fs_reader_refuse(err, "flags", flags, "has unknown bits");
	c.cap = (uint64_t)chunk_size;
	c.entries = calloc(n ? n : 1, sizeof(*c.entries));
	if (!c.entries)
		return fst3fs_err_set(err, -ENOMEM, "no memory for %zu requests", n);
	rc = prepare(r, &c, requests, err);
	if (rc == 0) {
		rc = run_call(r, &c, err);
		log_outcome(r, &c);
		log_remarks(r);
		release_if_asked(r);
	}
	free(c.entries);
	return rc;
}

int64_t fst3fs_read(struct fst3fs_reader *r, const char *path, uint64_t dst, int64_t offset, int64_t length,
		    int64_t chunk_size, unsigned flags, struct fst3fs_error *err)
{
	struct fst3fs_request q = {.path = path, .dst = dst, .offset = offset, .length = length};
	int rc = fst3fs_read_many(r, &q, 1, chunk_size, flags, err);

	if (rc < 0 && err)
		err->index = -1;
	return rc < 0 ? rc : q.result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading on the thread of the caller. */
#include <errno.h>
#include <stdlib.h>

#include "reader_i.h"

/* Checks every range before the first is read. */
static int prepare(struct fst3fs_reader *r, struct fst3fs_call *c, struct fst3fs_entry *entries,
		   struct fst3fs_request *requests, struct fst3fs_error *err)
{
	const size_t n = c->count;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		requests[i].result = -ECANCELED;
	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct fst3fs_request *q = &requests[i];

		rc = fst3fs_reader_check_range(q, err);
		if (rc == 0) {
			c->entries[i] = &entries[i];
			fst3fs_entry_init(&entries[i], q->path, (uint64_t)q->offset, (uint64_t)q->length, q->dst);
			rc = fst3fs_reader_place(r, q, &entries[i].area, &c->own_buffer, err);
		}
		if (rc == 0 && c->own_buffer && n > 1)
			rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
						 "the reader's own buffer serves one request at a time");
		if (rc < 0) {
			err->index = (int64_t)i;
			requests[i].result = rc;
		}
	}
	return rc;
}

static int run(struct fst3fs_reader *r, struct fst3fs_call *c, struct fst3fs_request *requests,
	       struct fst3fs_error *err)
{
	int rc;

	fst3fs_call_begin(c, err);
	rc = fst3fs_reader_run(r, c);
	for (size_t i = 0; i < c->count; i++) {
		const struct fst3fs_entry *e = c->entries[i];

		requests[i].result = e->status < 0 ? e->status : (int64_t)e->delivered;
	}
	fst3fs_reader_tell(r, c);
	fst3fs_call_end(c);
	return rc;
}

int fst3fs_read_many(struct fst3fs_reader *r, struct fst3fs_request *requests, size_t n, int64_t chunk_size,
		     unsigned flags, struct fst3fs_error *err)
{
	struct fst3fs_call c = {.count = n, .in_turn = (flags & FST3FS_READ_IN_TURN) != 0};
	struct fst3fs_entry *entries = NULL;
	struct fst3fs_error local;
	int rc;

	err = err ? err : &local;
	fst3fs_err_reset(err);
	rc = fst3fs_reader_check_call(r, chunk_size, err);
	if (rc < 0)
		return rc;
	if (flags & ~(unsigned)FST3FS_READ_IN_TURN)
		return fst3fs_reader_refuse(err, "flags", flags, "has unknown bits");
	c.cap = (uint64_t)chunk_size;
	c.entries = calloc(n ? n : 1, sizeof(struct fst3fs_entry *));
	entries = calloc(n ? n : 1, sizeof(*entries));
	if (c.entries && entries)
		rc = prepare(r, &c, entries, requests, err);
	else
		rc = fst3fs_err_set(err, -ENOMEM, "no memory for %zu requests", n);
	if (rc == 0)
		rc = run(r, &c, requests, err);
	free(entries);
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

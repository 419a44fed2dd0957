/* SPDX-License-Identifier: Apache-2.0 */
/* What is looked at before a read begins: who calls, and what for. */
#include <errno.h>
#include <unistd.h>

#include "reader_i.h"

int fst3fs_reader_check(const struct fst3fs_reader *r, struct fst3fs_error *err)
{
	if (r->pid == getpid())
		return 0;
	return fst3fs_err_set_kind(
		err, FST3FS_ERROR_STATE, -ECHILD,
		"this reader belongs to process %d, which forked: make a reader of its own in the child", (int)r->pid);
}

int fst3fs_reader_check_call(const struct fst3fs_reader *r, int64_t chunk_size, struct fst3fs_error *err)
{
	int rc = fst3fs_reader_check(r, err);

	if (rc < 0)
		return rc;
	if (chunk_size < 0)
		return fst3fs_reader_refuse(err, "chunk_size", chunk_size, "must not be negative");
	if (fst3fs_engine_inside(&r->engine))
		return fst3fs_err_set_kind(
			err, FST3FS_ERROR_STATE, -EDEADLK,
			"a callback or signal handler reads through the reader whose read it interrupted");
	return 0;
}

int fst3fs_reader_check_range(const struct fst3fs_request *q, struct fst3fs_error *err)
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

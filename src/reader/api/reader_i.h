/* SPDX-License-Identifier: Apache-2.0 */
/* A reader, as the files behind fst3fs.h see it: the engine, and what its public functions need besides. */
#ifndef FST3FS_READER_I_H
#define FST3FS_READER_I_H

#include "engine.h"

struct fst3fs_reader {
	struct fst3fs_engine engine; /* first, so that it leads back to its reader */
	/* Set once. */
	pid_t pid; /* who made it: a child after fork may not use it */
	uint64_t buffer_size;
	char why_not[768];

	/* Under the engine's lock. */
	bool release_asked; /* by a callback, for when its call has ended */
	bool said_off_mount;
	int page_locked;
	struct fst3fs_area_memory *memories;

	/* What `memories` are registered with, and the mount that it was made on. Under memory_lock. */
	pthread_mutex_t memory_lock;
	struct fst3fs_io *memory_io;
	dev_t memory_dev;
	struct fst3fs_waker memory_waker;
};

/* -EINVAL, "<what> is <value>, <rule>". */
int fst3fs_reader_refuse(struct fst3fs_error *err, const char *what, int64_t value, const char *rule);

/* fst3fs_open with a transport of the caller's choice for the mount point; how tests put a fault transport in. */
int fst3fs_reader_open_with(const struct fst3fs_options *o, const struct fst3fs_io_ops *main, const char *mount_point,
			    struct fst3fs_reader **out, struct fst3fs_error *err);

/* ------------------------------------------------------------------ check.c: before a read */

/* 0, or the refusal of a reader that belongs to this process's parent. */
int fst3fs_reader_check(const struct fst3fs_reader *r, struct fst3fs_error *err);
/* That, and what every call that reads is asked. */
int fst3fs_reader_check_call(const struct fst3fs_reader *r, int64_t chunk_size, struct fst3fs_error *err);
/* Offset, length and address of one range. */
int fst3fs_reader_check_range(const struct fst3fs_request *q, struct fst3fs_error *err);

/* ------------------------------------------------------------------ run.c: the read */

/* Runs a call that has begun. Sessions die with the mount they were made on; a new one takes over and the call is read
 * again. */
int fst3fs_reader_run(struct fst3fs_reader *r, struct fst3fs_call *c);
/* Says in the log what a call has found out. On a thread of the caller's, without the lock. */
void fst3fs_reader_tell(struct fst3fs_reader *r, const struct fst3fs_call *c);

/* ------------------------------------------------------------------ memory_area.c */

/* Memory of fst3fs_alloc that there is, in bytes, and how much of it is in huge pages. Under the engine's lock. */
void fst3fs_reader_count_memory(const struct fst3fs_reader *r, uint64_t *length, uint64_t *huge);

/* What kind of memory the destination is, as far as this reader has made it: an area of its own (else NULL), or the
 * staging buffer (`own`). */
int fst3fs_reader_place(struct fst3fs_reader *r, const struct fst3fs_request *q, struct fst3fs_area **area, bool *own,
			struct fst3fs_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace of what the slots of a reader do, for Perfetto or chrome://tracing: one row a slot, and rows for opening
 * files, headers and waits.
 *
 * Spans are kept in memory, a bounded number, and appended to the file when nobody waits for it: the file is JSON's
 * array without its closing bracket, which the viewers read, so that it is whole whenever the process ends.
 *
 * Threads: any. A NULL trace takes every call and does nothing.
 */
#ifndef FST3FS_TRACE_H
#define FST3FS_TRACE_H

#include <stdint.h>

#include "err.h"

struct fst3fs_trace;

/* Rows above those of the slots. */
enum fst3fs_trace_row { FST3FS_TRACE_WAITS = 1, FST3FS_TRACE_OPENS, FST3FS_TRACE_HEADERS, FST3FS_TRACE_SLOTS = 100 };

/* What a span is, and its name. */
enum fst3fs_trace_kind {
	FST3FS_TRACE_READING,
	FST3FS_TRACE_LANDED,
	FST3FS_TRACE_COPYING,
	FST3FS_TRACE_OPEN,
	FST3FS_TRACE_HEADER,
	FST3FS_TRACE_WAIT_IO,
	FST3FS_TRACE_WAIT_COPY,
	FST3FS_TRACE_WAIT_SLOT,
	FST3FS_TRACE_WAIT_CONSUMER,
	FST3FS_TRACE_KINDS,
};

/* Makes the file `path`, or for a further reader of this process path.2, path.3, ...; "%p" in it becomes the process's
 * number. */
int fst3fs_trace_open(const char *path, struct fst3fs_trace **out, struct fst3fs_error *err);
/* Appends what is left and ends it. */
void fst3fs_trace_close(struct fst3fs_trace *t);

/* [begin_ns, end_ns) of CLOCK_MONOTONIC in a row. `offset` and `bytes` of the file that it is about, 0 = none. */
void fst3fs_trace_span(struct fst3fs_trace *t, unsigned row, enum fst3fs_trace_kind kind, uint64_t begin_ns,
		       uint64_t end_ns, uint64_t offset, uint64_t bytes);
/* Appends what there is to the file. */
void fst3fs_trace_flush(struct fst3fs_trace *t);

#endif

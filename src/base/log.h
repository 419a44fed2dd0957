/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines go to the caller's callback and nowhere else. */
#ifndef FST3FS_LOG_H
#define FST3FS_LOG_H

#include "fst3fs.h"

struct fst3fs_log {
	fst3fs_log_fn fn; /* NULL = nobody listens */
	void *ctx;
	int level;
};

/* Only on threads that are inside a call of the public API: the callback may need that thread (Python's does). */
void fst3fs_log(const struct fst3fs_log *log, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif

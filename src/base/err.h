/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a struct fst3fs_error. Set once, by whoever knows most; outer layers add the path and the index. */
#ifndef FST3FS_ERR_H
#define FST3FS_ERR_H

#include "fst3fs.h"

/* Makes an error empty. NULL is fine, here and below. */
void fst3fs_err_reset(struct fst3fs_error *err);

/* Records a failure unless one is recorded already. `code` is a negative errno. Returns `code`, so that a check fits
 * in one line: `return fst3fs_err_set(err, -ENOMEM, "no memory for %d slots", n);` */
int fst3fs_err_set(struct fst3fs_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a fault of another kind than FST3FS_ERROR_SYSTEM. */
int fst3fs_err_set_kind(struct fst3fs_error *err, int kind, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Names the file of a recorded failure, unless it has one. */
void fst3fs_err_set_path(struct fst3fs_error *err, const char *path);

/* The name of an errno's meaning, thread-safe, never NULL. `code` may be of either sign. */
const char *fst3fs_strerror(int code);

#endif

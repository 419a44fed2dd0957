/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong on a mount, in words, and what to do about it. */
#ifndef USRBIO_EXPLAIN_H
#define USRBIO_EXPLAIN_H

#include <stdint.h>

#include "err.h"

/* Record and return `code`, a negative errno. */
int usrbio_explain_open(struct fst3fs_error *err, const char *mount, int code, uint32_t timeout_ms);
int usrbio_explain_link(struct fst3fs_error *err, const char *mount, int code, uint32_t timeout_ms);
int usrbio_explain_sem(struct fst3fs_error *err, const char *mount, int code, const char *path);

#endif

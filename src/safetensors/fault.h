/* SPDX-License-Identifier: Apache-2.0 */
/* Errors about a rule that a file breaks. */
#ifndef FST3FS_SAFETENSORS_FAULT_H
#define FST3FS_SAFETENSORS_FAULT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "rules.h"

/* What an error shows of a name; the text of an error has room for three. */
enum { ST_QUOTED_BYTES = 160 };

struct st_quoted {
	char text[ST_QUOTED_BYTES + 16];
};

/* The UTF-8 at `s` in quotation marks, on one line, its end left out when it is long. Returns q->text. */
const char *st_quote(struct st_quoted *q, const char *s, size_t bytes);

/* Records that the file breaks `rule` at its byte `position`: "subject: detail (rule, byte N)". Returns -EINVAL. */
int st_fault(struct fst3fs_error *err, enum safetensors_rule rule, uint64_t position, const char *subject,
	     const char *fmt, ...) __attribute__((format(printf, 5, 6)));
int st_vfault(struct fst3fs_error *err, enum safetensors_rule rule, uint64_t position, const char *subject,
	      const char *fmt, va_list ap) __attribute__((format(printf, 5, 0)));

#endif

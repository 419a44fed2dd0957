/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Writes one byte of a name so that it stays within a line; returns the bytes it took, at most 4. */
static size_t quote_byte(char *out, unsigned char byte)
{
	if (byte == '"' || byte == '\\') {
		out[0] = '\\';
		out[1] = (char)byte;
		return 2;
	}
	if (byte < 0x20 || byte == 0x7f)
		return (size_t)sprintf(out, "\\x%02x", byte);
	out[0] = (char)byte;
	return 1;
}

const char *st_quote(struct st_quoted *q, const char *s, size_t bytes)
{
	size_t at = 0, i = 0;

	q->text[at++] = '"';
	while (i < bytes && at < ST_QUOTED_BYTES)
		at += quote_byte(q->text + at, (unsigned char)s[i++]);
	if (i < bytes) {
		/* Not in the middle of a character. */
		while (((unsigned char)s[i] & 0xc0) == 0x80) {
			i--;
			at--;
		}
		at += (size_t)sprintf(q->text + at, "...");
	}
	q->text[at++] = '"';
	q->text[at] = '\0';
	return q->text;
}

int st_vfault(struct fst3fs_error *err, enum safetensors_rule rule, uint64_t position, const char *subject,
	      const char *fmt, va_list ap)
{
	char detail[384];

	if (!err || err->code)
		return -EINVAL;
	vsnprintf(detail, sizeof(detail), fmt, ap);
	err->rule = (int)rule;
	err->offset = (int64_t)position;
	return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "%s: %s (%s, byte %" PRIu64 ")", subject, detail,
				   safetensors_rule_name(rule), position);
}

int st_fault(struct fst3fs_error *err, enum safetensors_rule rule, uint64_t position, const char *subject,
	     const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = st_vfault(err, rule, position, subject, fmt, ap);
	va_end(ap);
	return rc;
}

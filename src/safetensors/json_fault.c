/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader of JSON says when it fails. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "fault.h"
#include "json.h"

int st_json_fault(struct st_json *r, enum safetensors_rule rule, uint64_t position, const char *fmt, ...)
{
	char subject[sizeof(struct st_quoted) + 8];
	struct st_quoted name;
	va_list ap;

	if (r->subject.s)
		snprintf(subject, sizeof(subject), "tensor %s", st_quote(&name, r->subject.s, r->subject.bytes));
	else
		snprintf(subject, sizeof(subject), "%s", r->document);
	va_start(ap, fmt);
	st_vfault(r->err, rule, position, subject, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int st_json_no_memory(struct st_json *r)
{
	return fst3fs_err_set(r->err, -ENOMEM, "no memory for the %s of %zu bytes", r->document,
			      (size_t)(r->end - r->begin));
}

uint64_t st_json_byte(const struct st_json *r, const char *p)
{
	return r->base + (uint64_t)(p - r->begin);
}

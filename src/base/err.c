/* SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fst3fs_err_reset(struct fst3fs_error *err)
{
	if (!err)
		return;
	err->code = 0;
	err->kind = FST3FS_ERROR_SYSTEM;
	err->index = -1;
	err->offset = -1;
	err->rule = 0;
	err->path[0] = '\0';
	err->text[0] = '\0';
}

__attribute__((format(printf, 4, 0))) static int set(struct fst3fs_error *err, int kind, int code, const char *fmt,
						     va_list ap)
{
	if (!err || err->code)
		return code;
	err->code = code;
	err->kind = kind;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	return code;
}

int fst3fs_err_set(struct fst3fs_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, FST3FS_ERROR_SYSTEM, code, fmt, ap);
	va_end(ap);
	return code;
}

int fst3fs_err_set_kind(struct fst3fs_error *err, int kind, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, kind, code, fmt, ap);
	va_end(ap);
	return code;
}

void fst3fs_err_set_path(struct fst3fs_error *err, const char *path)
{
	if (err && err->code && !err->path[0])
		snprintf(err->path, sizeof(err->path), "%s", path);
}

const char *fst3fs_strerror(int code)
{
	const char *s = strerrordesc_np(abs(code));

	return s ? s : "unknown error";
}

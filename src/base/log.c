/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

void fst3fs_log(const struct fst3fs_log *log, int level, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	if (!log->fn || level < log->level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log->fn(log->ctx, level, line);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "say.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "clock.h"

void say_seldom(const char *format, ...)
{
	static _Atomic uint64_t quiet_until;
	uint64_t now = fst3fs_now_ns(), until = atomic_load(&quiet_until);
	char line[256];
	va_list args;

	if (now < until || !atomic_compare_exchange_strong(&quiet_until, &until, now + FST3FS_NS_PER_S))
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "usrbiod: %s\n", line);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* That of its first thread, which is the same: qemu-user shows a process another time of its own than everybody else
 * sees, but leaves the threads alone. */
uint64_t fst3fs_process_start(pid_t pid)
{
	char path[48], text[1024];
	unsigned long long ticks = 0;
	const char *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* Field 2, the command, may hold anything, spaces and parentheses included. */
	p = strrchr(text, ')');
	if (!p)
		return 0;
	for (int field = 2; field < 22; field++) {
		p = strchr(p + 1, ' ');
		if (!p)
			return 0;
	}
	return sscanf(p, " %llu", &ticks) == 1 ? ticks : 0;
}

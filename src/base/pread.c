/* SPDX-License-Identifier: Apache-2.0 */
#include "pread.h"

#include <errno.h>
#include <unistd.h>

int64_t fst3fs_pread_fully(int fd, void *to, size_t bytes, uint64_t offset)
{
	size_t have = 0;

	while (have < bytes) {
		ssize_t n = pread(fd, (char *)to + have, bytes - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (int64_t)have;
}

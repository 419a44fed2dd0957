/* SPDX-License-Identifier: Apache-2.0 */
#include "initflags.h"

#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

/* The first message to the kernel is the answer to its greeting. There is one session in a process. */
static atomic_bool greeted;

static void complete(const struct iovec *iov)
{
	struct fuse_init_out *out = iov[1].iov_base;

	if (iov[1].iov_len >= offsetof(struct fuse_init_out, flags) + sizeof(out->flags))
		out->flags |= FUSE_PARALLEL_DIROPS;
}

static ssize_t write_message(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *header = iov[0].iov_base;

	(void)userdata;
	if (!atomic_exchange_explicit(&greeted, true, memory_order_relaxed) && count == 2 && header->error == 0)
		complete(iov);
	return writev(fd, iov, count);
}

static ssize_t read_message(int fd, void *buf, size_t size, void *userdata)
{
	(void)userdata;
	return read(fd, buf, size);
}

int initflags_attach(struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.read = read_message, .writev = write_message};

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

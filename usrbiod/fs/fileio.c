/* SPDX-License-Identifier: Apache-2.0 */
#include "fileio.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "transfer.h"

struct fileio {
	struct transfer transfer;
	struct fst3fs_task task; /* sends the bytes: too much work for the timer's thread */
	struct fs *fs;
	fuse_req_t req;
	int fd; /* the file stays open until the kernel has its answer */
	bool is_write;
	size_t size;
	off_t off;
};

/* Each thread keeps one buffer: fresh memory for every read would cost more than the read. (Splicing would need none,
 * but a pipe of the usual largest size cannot hold the largest read and its header.) */
struct scratch {
	size_t size;
	char data[];
};

static pthread_key_t scratch_key;

int fileio_init(void)
{
	return -pthread_key_create(&scratch_key, free);
}

static char *scratch(size_t size)
{
	struct scratch *s = pthread_getspecific(scratch_key);

	if (!s || s->size < size) {
		free(s);
		s = malloc(sizeof(*s) + size);
		pthread_setspecific(scratch_key, s);
		if (!s)
			return NULL;
		s->size = size;
	}
	return s->data;
}

static void send_read(struct fs *fs, fuse_req_t req, int fd, size_t size, off_t off)
{
	char *buf = scratch(size);
	ssize_t got = buf ? pread(fd, buf, size, off) : -1;

	if (got < 0) {
		fuse_reply_err(req, buf ? errno : ENOMEM);
		return;
	}
	atomic_fetch_add_explicit(&fs->stats->read_bytes, (uint64_t)got, memory_order_relaxed);
	fuse_reply_buf(req, buf, (size_t)got);
}

static void io_free(struct fileio *io)
{
	transfer_release(&io->transfer);
	free(io);
}

static void finish(struct fst3fs_task *task)
{
	struct fileio *io = (struct fileio *)((char *)task - offsetof(struct fileio, task));

	if (io->is_write)
		fuse_reply_write(io->req, io->size);
	else
		send_read(io->fs, io->req, io->fd, io->size, io->off);
	io_free(io);
}

static void time_passed(struct transfer *x)
{
	struct fileio *io = (struct fileio *)x;

	if (fst3fs_pool_run(io->fs->copiers, &io->task))
		finish(&io->task);
}

static void drop(struct transfer *x)
{
	struct fileio *io = (struct fileio *)x;

	fuse_reply_none(io->req);
	io_free(io);
}

/* Answers when `bytes` of the file have passed the link. Takes over its argument's content. */
static void answer_in_time(const struct fileio *what, fuse_ino_t ino, size_t bytes)
{
	struct storage *storage = what->fs->storage;
	struct fileio *io = malloc(sizeof(*io));

	if (!io) {
		fuse_reply_err(what->req, ENOMEM);
		return;
	}
	*io = *what;
	io->task.run = finish;
	io->transfer = (struct transfer){.storage = storage, .done = time_passed, .drop = drop};
	if (transfer_reserve(&io->transfer, transfer_pieces(storage, (uint64_t)io->off, bytes))) {
		fuse_reply_err(io->req, ENOMEM);
		io_free(io);
		return;
	}
	transfer_cut(&io->transfer, ino, (uint64_t)io->off, bytes, 0, 0);
	transfer_start(&io->transfer);
}

void fileio_read(struct fs *fs, fuse_req_t req, fuse_ino_t ino, int fd, size_t size, off_t off)
{
	size_t bytes = size;
	struct stat st;

	if (!link_simulates(&fs->storage->link)) {
		send_read(fs, req, fd, size, off);
		return;
	}
	if (fstat(fd, &st) == 0 && off + (off_t)size > st.st_size)
		bytes = off < st.st_size ? (size_t)(st.st_size - off) : 0;
	answer_in_time(&(struct fileio){.fs = fs, .req = req, .fd = fd, .size = size, .off = off}, ino, bytes);
}

void fileio_write(struct fs *fs, fuse_req_t req, fuse_ino_t ino, int fd, struct fuse_bufvec *in, off_t off)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(in));
	ssize_t written;

	out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	out.buf[0].fd = fd;
	out.buf[0].pos = off;
	written = fuse_buf_copy(&out, in, 0);
	if (written < 0)
		fuse_reply_err(req, (int)-written);
	else if (!link_simulates(&fs->storage->link))
		fuse_reply_write(req, (size_t)written);
	else
		answer_in_time(
			&(struct fileio){.fs = fs, .req = req, .is_write = true, .size = (size_t)written, .off = off},
			ino, (size_t)written);
}

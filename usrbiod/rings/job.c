/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "say.h"

struct job *job_new(const struct backend *b, const struct iov *ring_iov, int count)
{
	struct job *job = calloc(1, sizeof(*job) + (size_t)count * sizeof(job->requests[0]));

	if (!job)
		return NULL;
	job->backend = b;
	job->ring_iov = ring_iov;
	job->count = count;
	return job;
}

void job_release(struct job *job)
{
	for (int i = 0; i < job->count; i++)
		request_release(job->backend, &job->requests[i]);
}

void job_free(struct job *job)
{
	transfer_release(&job->transfer);
	free(job);
}

/* ---------------------------------------------------------------- moving bytes */

static void part_done(struct job *job);

/* Is nothing written in this piece's chunk? Only then is it a hole to the real storage. */
static bool is_hole(int fd, const struct piece *p, uint64_t chunk)
{
	off_t start = (off_t)(p->file_off - p->file_off % chunk), data = lseek(fd, start, SEEK_DATA);

	return data < 0 ? errno == ENXIO : data >= start + (off_t)chunk;
}

/* The vector calls, because thread sanitizers do not look into them: two requests for the same bytes of a buffer are a
 * race of the client with itself, in memory that is not the daemon's. */
static ssize_t move_some(const struct request *req, uint8_t *mem, size_t n, off_t off, bool for_write)
{
	const struct iovec iov = {.iov_base = mem, .iov_len = n};

	return for_write ? pwritev2(req->inode->write_fd, &iov, 1, off, 0)
			 : preadv2(req->inode->read_fd, &iov, 1, off, 0);
}

static int64_t move_bytes(const struct request *req, const struct piece *p, bool for_write)
{
	uint8_t *mem = req->iov->base + p->at;
	int64_t moved = 0;

	while (moved < p->len) {
		ssize_t got =
			move_some(req, mem + moved, p->len - (size_t)moved, (off_t)p->file_off + moved, for_write);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		moved += got;
	}
	return moved;
}

/* The kernel does the accesses to the client's buffer, so that one that was truncated is EFAULT and no signal. */
static void copy_piece(struct fst3fs_task *task)
{
	struct piece *p = (struct piece *)task;
	struct job *job = (struct job *)p->transfer;
	struct request *req = &job->requests[p->request];
	bool for_write = job->ring_iov->key.for_write;

	if (req->sparse && !for_write)
		p->hole = is_hole(req->inode->read_fd, p, job->backend->storage->chunk_bytes);
	p->got = move_bytes(req, p, for_write);
	if (p->got == -EFAULT)
		stats_violation(job->backend->stats, VIOLATION_MEMORY);
	part_done(job);
}

static void piece_arrives(struct transfer *x, struct piece *p)
{
	struct job *job = (struct job *)x;
	const struct backend *b = job->backend;
	int rc;

	if (b->null) {
		p->got = p->len;
		return;
	}
	p->copy.run = copy_piece;
	atomic_fetch_add(&job->pending, 1);
	rc = fst3fs_pool_run(b->copiers, &p->copy);
	if (rc) {
		p->got = rc;
		part_done(job);
	}
}

/* ---------------------------------------------------------------- results */

/* As the real client library puts the chunks of one read together: a hole, or a chunk that ends early, is zeros when
 * data follow in the same request, and where the result ends when none do. */
static int64_t join_pieces(const struct piece *p, int count, bool hole_is_error)
{
	int64_t result = 0, gap = 0;

	for (int i = 0; i < count; i++, p++) {
		int64_t got = p->hole && p->got > 0 ? 0 : p->got;

		if (got < 0)
			return got;
		if (got > 0 && gap > 0 && hole_is_error)
			return -ENODATA;
		if (got > 0) {
			result += gap + got;
			gap = 0;
		}
		gap += p->len - got;
	}
	return result;
}

static uint64_t collect_results(struct job *job)
{
	bool hole_is_error = job->ring_iov->key.flags & USRBIO_RING_HOLE_IS_ERROR;
	const struct piece *p = job->transfer.pieces;
	uint64_t bytes = 0;

	for (int i = 0; i < job->count; i++) {
		struct request *req = &job->requests[i];

		if (req->result == 0 && req->pieces)
			req->result = join_pieces(p, req->pieces, hole_is_error);
		p += req->pieces;
		if (req->result > 0)
			bytes += (uint64_t)req->result;
	}
	return bytes;
}

static void part_done(struct job *job)
{
	const struct backend *b = job->backend;
	uint64_t bytes;

	if (atomic_fetch_sub(&job->pending, 1) > 1)
		return;
	bytes = collect_results(job);
	transfer_release(&job->transfer); /* the job itself may have to wait for those before it */
	job_release(job);
	stats_job_done(b->stats, job->count, bytes);
	job->done(job, job->done_arg);
}

static void time_passed(struct transfer *x)
{
	part_done((struct job *)x);
}

/* ---------------------------------------------------------------- running */

/* Room for the pieces of every request that was not refused. */
static int reserve_pieces(struct job *job)
{
	int64_t total = 0;

	for (int i = 0; i < job->count; i++) {
		const struct request *req = &job->requests[i];

		if (req->result == 0)
			total += transfer_pieces(job->backend->storage, req->arg.file_off, req->len);
	}
	return transfer_reserve(&job->transfer, total);
}

static void cut_requests(struct job *job)
{
	int rc = reserve_pieces(job);

	if (rc == -ENOBUFS) {
		stats_violation(job->backend->stats, VIOLATION_BOUND);
		say_seldom("user %u: a job is refused (%s): with those that run it is too many sub-reads",
			   (unsigned)job->ring_iov->owner.uid, strerror(-rc));
	}
	for (int i = 0; i < job->count; i++) {
		struct request *req = &job->requests[i];

		if (req->result)
			continue;
		req->result = rc;
		if (rc == 0)
			req->pieces = transfer_cut(&job->transfer, req->arg.file_ino, req->arg.file_off, req->len,
						   req->arg.buf_off, i);
	}
}

void job_run(struct job *job, void (*done)(struct job *job, void *arg), void *arg)
{
	const struct backend *b = job->backend;
	bool hang = false;

	for (int i = 0; i < job->count; i++) {
		request_check(b, job->ring_iov, &job->requests[i]);
		hang |= job->requests[i].hang;
	}
	/* It keeps its worker, its buffers and its place in the ring, like one whose storage never answers. */
	if (hang)
		return;
	job->done = done;
	job->done_arg = arg;
	job->transfer.storage = b->storage;
	cut_requests(job);
	job->transfer.arrive = piece_arrives;
	job->transfer.done = time_passed;
	atomic_store(&job->pending, 1);
	transfer_start(&job->transfer);
}

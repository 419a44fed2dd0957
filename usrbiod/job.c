/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ring.h"
#include "usrbiod.h"

struct job *job_new(struct ring *ring, int count)
{
	struct job *job = calloc(1, sizeof(*job) + (size_t)count * sizeof(job->requests[0]));

	if (!job)
		return NULL;
	job->ring = ring;
	job->count = count;
	return job;
}

void job_release(struct job *job)
{
	for (int i = 0; i < job->count; i++) {
		struct request *req = &job->requests[i];

		if (req->inode)
			inodes_io_end(job->ring->d->inodes, req->inode);
		if (req->iov)
			iov_put(req->iov);
		req->inode = NULL;
		req->iov = NULL;
	}
}

void job_free(struct job *job)
{
	free(job->xfer.pieces);
	free(job);
}

/* ---------------------------------------------------------------- checks */

static int violation(struct usrbiod *d, enum violation kind, int rc)
{
	stats_violation(&d->stats, kind);
	return rc;
}

static int check_buffer(struct job *job, struct request *req)
{
	const struct usrbio_arg *arg = &req->arg;
	struct usrbiod *d = job->ring->d;
	struct iov *iov = iovs_buffer(d->iovs, arg->buf_id);
	uint64_t block;

	req->iov = iov;
	if (!iov)
		return violation(d, VIOLATION_BUFFER, -EINVAL);
	if (iov->owner.uid != job->ring->iov->owner.uid)
		return violation(d, VIOLATION_BUFFER, -EACCES);
	if (arg->buf_off > iov->size || arg->len > iov->size - arg->buf_off)
		return violation(d, VIOLATION_RANGE, -EINVAL);
	block = iov->key.block_size;
	if (block && arg->len && arg->buf_off / block != (arg->buf_off + arg->len - 1) / block)
		return violation(d, VIOLATION_RANGE, -EINVAL);
	return 0;
}

/* Reads go to the end of the file as it is now. */
static int clip_to_file(struct request *req, bool for_write)
{
	struct stat st;

	req->len = req->arg.len;
	if (for_write)
		return 0;
	if (fstat(req->inode->read_fd, &st))
		return -errno;
	if (req->arg.file_off >= (uint64_t)st.st_size)
		req->len = 0;
	else if (req->len > (uint64_t)st.st_size - req->arg.file_off)
		req->len = (uint64_t)st.st_size - req->arg.file_off;
	req->sparse = (int64_t)st.st_blocks * 512 < (int64_t)st.st_size;
	return 0;
}

static int check_file(struct job *job, struct request *req)
{
	const struct caller *user = &job->ring->iov->owner;
	bool for_write = job->ring->iov->key.for_write;
	struct usrbiod *d = job->ring->d;
	int rc;

	if (req->arg.file_off > INT64_MAX - req->arg.len)
		return violation(d, VIOLATION_RANGE, -EINVAL);
	if (for_write && d->options.read_only)
		return -EROFS;
	rc = inodes_io_begin(d->inodes, req->arg.file_ino, for_write, user->uid, user->gid, &req->inode);
	if (rc == -EBADF || rc == -EACCES)
		violation(d, VIOLATION_FILE, rc);
	return rc ? rc : clip_to_file(req, for_write);
}

static int apply_fault(struct job *job, struct request *req)
{
	switch (faults_next(&job->ring->d->faults)) {
	case FAULT_HANG:
		req->hang = true;
		break;
	case FAULT_FAIL:
		return -EREMOTEIO;
	case FAULT_SHORT:
		req->len /= 2;
		break;
	default:
		break;
	}
	return 0;
}

/* Into the request: an error, or what is to be done. */
static void check_request(struct job *job, struct request *req)
{
	int rc = (int)req->result;

	if (rc == 0)
		rc = check_buffer(job, req);
	if (rc == 0)
		rc = check_file(job, req);
	if (rc == 0)
		rc = apply_fault(job, req);
	req->result = rc;
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
	struct job *job = (struct job *)p->xfer;
	struct request *req = &job->requests[p->request];
	bool for_write = job->ring->iov->key.for_write;

	if (req->sparse && !for_write)
		p->hole = is_hole(req->inode->read_fd, p, job->ring->d->options.chunk_kb * 1024);
	p->got = move_bytes(req, p, for_write);
	if (p->got == -EFAULT)
		stats_violation(&job->ring->d->stats, VIOLATION_MEMORY);
	part_done(job);
}

static void piece_arrives(struct xfer *x, struct piece *p)
{
	struct job *job = (struct job *)x;
	struct usrbiod *d = job->ring->d;
	int rc;

	if (d->options.null) {
		p->got = p->len;
		return;
	}
	p->copy.run = copy_piece;
	atomic_fetch_add(&job->pending, 1);
	rc = fst3fs_pool_run(d->copiers, &p->copy);
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
	bool hole_is_error = job->ring->iov->key.flags & USRBIO_RING_HOLE_IS_ERROR;
	const struct piece *p = job->xfer.pieces;
	uint64_t bytes = 0;

	xfer_sort(&job->xfer);
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
	struct usrbiod *d = job->ring->d;
	uint64_t bytes;

	if (atomic_fetch_sub(&job->pending, 1) > 1)
		return;
	bytes = collect_results(job);
	job_release(job);
	stats_job_done(&d->stats, job->count, bytes);
	rings_job_done(d->rings, job);
}

static void time_passed(struct xfer *x)
{
	part_done((struct job *)x);
}

/* ---------------------------------------------------------------- running */

/* Room for the pieces of every request that was not refused. */
static int allocate_pieces(struct job *job, uint64_t chunk)
{
	int64_t total = 0;

	for (int i = 0; i < job->count; i++) {
		const struct request *req = &job->requests[i];

		if (req->result == 0)
			total += xfer_pieces(req->arg.file_off, req->len, chunk);
	}
	if (total > INT_MAX)
		return -ENOMEM;
	job->xfer.pieces = calloc((size_t)total + 1, sizeof(struct piece));
	return job->xfer.pieces ? 0 : -ENOMEM;
}

static void cut_requests(struct job *job)
{
	uint64_t chunk = job->ring->d->options.chunk_kb * 1024;
	int rc = allocate_pieces(job, chunk);

	for (int i = 0; i < job->count; i++) {
		struct request *req = &job->requests[i];

		if (req->result)
			continue;
		req->result = rc;
		if (rc == 0)
			req->pieces = xfer_cut(&job->xfer, req->arg.file_off, req->len, chunk, req->arg.buf_off, i);
	}
}

void job_run(struct job *job)
{
	struct usrbiod *d = job->ring->d;
	bool hang = false;

	for (int i = 0; i < job->count; i++) {
		check_request(job, &job->requests[i]);
		hang |= job->requests[i].hang;
	}
	/* It keeps its worker, its buffers and its place in the ring, like one whose storage never answers. */
	if (hang)
		return;
	cut_requests(job);
	job->xfer.timer = d->timer;
	job->xfer.link = &d->link;
	job->xfer.arrive = piece_arrives;
	job->xfer.done = time_passed;
	atomic_store(&job->pending, 1);
	xfer_start(&job->xfer);
}

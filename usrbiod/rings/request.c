/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>
#include <sys/stat.h>

static int violation(const struct backend *b, enum violation kind, int rc)
{
	stats_violation(b->stats, kind);
	return rc;
}

static int check_buffer(const struct backend *b, const struct iov *ring, struct request *req)
{
	const struct usrbio_arg *arg = &req->arg;
	struct iov *iov = iovs_buffer(b->iovs, arg->buf_id);
	uint64_t block;

	req->iov = iov;
	if (!iov)
		return violation(b, VIOLATION_BUFFER, -EINVAL);
	if (iov->owner.uid != ring->owner.uid)
		return violation(b, VIOLATION_BUFFER, -EACCES);
	if (arg->buf_off > iov->size || arg->len > iov->size - arg->buf_off)
		return violation(b, VIOLATION_RANGE, -EINVAL);
	block = iov->key.block_size;
	if (block && arg->len && arg->buf_off / block != (arg->buf_off + arg->len - 1) / block)
		return violation(b, VIOLATION_RANGE, -EINVAL);
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

static int check_file(const struct backend *b, const struct iov *ring, struct request *req)
{
	const struct caller *user = &ring->owner;
	bool for_write = ring->key.for_write;
	int rc;

	if (req->arg.file_off > INT64_MAX - req->arg.len)
		return violation(b, VIOLATION_RANGE, -EINVAL);
	if (for_write && b->read_only)
		return -EROFS;
	rc = inodes_io_begin(b->inodes, req->arg.file_ino, for_write, user->uid, user->gid, &req->inode);
	if (rc == -EBADF || rc == -EACCES)
		violation(b, VIOLATION_FILE, rc);
	return rc ? rc : clip_to_file(req, for_write);
}

static int apply_fault(const struct backend *b, struct request *req)
{
	switch (faults_next(&b->storage->faults)) {
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

void request_check(const struct backend *b, const struct iov *ring, struct request *req)
{
	int rc = (int)req->result;

	if (rc == 0)
		rc = check_buffer(b, ring, req);
	if (rc == 0)
		rc = check_file(b, ring, req);
	if (rc == 0)
		rc = apply_fault(b, req);
	req->result = rc;
}

void request_release(const struct backend *b, struct request *req)
{
	if (req->inode)
		inodes_io_end(b->inodes, req->inode);
	if (req->iov)
		iov_put(req->iov);
	req->inode = NULL;
	req->iov = NULL;
}

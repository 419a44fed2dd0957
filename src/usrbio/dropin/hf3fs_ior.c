/* SPDX-License-Identifier: Apache-2.0 */
#include "ior.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf3fs_fds.h"
#include "hf3fs_mounts.h"
#include "hf3fs_usrbio.h"
#include "iov.h"
#include "sharedsem.h"

/* Behind hf3fs_ior.iorh. */
struct handle {
	struct hf3fs_mount *mount;
	struct usrbio_ior *ior;
};

struct request {
	struct handle *handle;
	struct usrbio_ior_attr attr;
};

_Static_assert(sizeof(struct hf3fs_ior) == 600, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, iorh) == 312, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, mount_point) == 320, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, for_read) == 576, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, io_depth) == 580, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, priority) == 584, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, timeout) == 588, "ABI");
_Static_assert(offsetof(struct hf3fs_ior, flags) == 592, "ABI");
_Static_assert(sizeof(struct hf3fs_cqe) == sizeof(struct usrbio_cqe), "ABI");
_Static_assert(offsetof(struct hf3fs_cqe, result) == 8, "ABI");
_Static_assert(offsetof(struct hf3fs_cqe, userdata) == 16, "ABI");

size_t hf3fs_ior_size(int entries)
{
	return usrbio_ring_size(entries);
}

static int make_ring(struct hf3fs_mount *m, void *arg)
{
	struct request *req = arg;

	return usrbio_ior_create_attr(m->client, &req->attr, &req->handle->ior, NULL);
}

static void describe(struct hf3fs_ior *out, const char *mount, const struct request *req)
{
	const struct usrbio_shm *shm = &req->handle->ior->shm;
	const struct usrbio_ring_attr *ring = &req->attr.ring;

	*out = (struct hf3fs_ior){
		.iov = {.base = shm->base, .size = shm->size, .numa = req->attr.numa},
		.iorh = req->handle,
		.for_read = ring->for_read,
		.io_depth = ring->io_depth,
		.priority = ring->priority,
		.timeout = ring->timeout_ms,
		.flags = ring->flags,
	};
	memcpy(out->iov.id, shm->id, sizeof(out->iov.id));
	snprintf(out->iov.mount_point, sizeof(out->iov.mount_point), "%s", mount);
	snprintf(out->mount_point, sizeof(out->mount_point), "%s", mount);
}

static int create(struct hf3fs_ior *out, const char *mount, struct usrbio_ior_attr attr)
{
	struct request req = {.attr = attr};
	int rc;

	if (!out || !mount)
		return -EINVAL;
	req.attr.lasting = true;
	req.handle = calloc(1, sizeof(*req.handle));
	if (!req.handle)
		return -ENOMEM;
	rc = hf3fs_mount_use(mount, make_ring, &req, &req.handle->mount);
	if (rc < 0) {
		free(req.handle);
		return rc;
	}
	describe(out, mount, &req);
	return 0;
}

int hf3fs_iorcreate(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int numa)
{
	return hf3fs_iorcreate3(ior, mount, entries, for_read, io_depth, 0, 0, numa);
}

int hf3fs_iorcreate2(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int priority,
		     int numa)
{
	return hf3fs_iorcreate3(ior, mount, entries, for_read, io_depth, priority, 0, numa);
}

int hf3fs_iorcreate3(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int priority,
		     int timeout, int numa)
{
	return create(ior, mount,
		      (struct usrbio_ior_attr){
			      .ring = {.for_read = for_read,
				       .io_depth = io_depth,
				       .priority = priority,
				       .timeout_ms = timeout},
			      .entries = entries,
			      .numa = numa,
		      });
}

int hf3fs_iorcreate4(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int timeout,
		     int numa, uint64_t flags)
{
	return create(
		ior, mount,
		(struct usrbio_ior_attr){
			.ring = {.for_read = for_read, .io_depth = io_depth, .timeout_ms = timeout, .flags = flags},
			.entries = entries,
			.numa = numa,
		});
}

void hf3fs_iordestroy(struct hf3fs_ior *ior)
{
	struct handle *handle = ior ? ior->iorh : NULL;

	if (!handle)
		return;
	usrbio_ior_destroy(handle->ior);
	hf3fs_mount_put(handle->mount);
	free(handle);
	ior->iorh = NULL;
	ior->iov.base = NULL;
}

int hf3fs_io_entries(const struct hf3fs_ior *ior)
{
	const struct handle *handle = ior ? ior->iorh : NULL;

	return handle ? handle->ior->ring.slots - 1 : -EINVAL;
}

/* May this file be used for that, on that ring's mount? An inode number means another file on another mount. */
static int check_file(const struct hf3fs_file *file, const struct handle *handle, bool read)
{
	if (file->dev != handle->mount->dev)
		return -EBADF;
	return file->access == (read ? O_WRONLY : O_RDONLY) ? -EACCES : 0;
}

int hf3fs_prep_io(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, bool read, void *ptr, int fd, size_t off,
		  uint64_t len, const void *userdata)
{
	const struct handle *handle = ior ? ior->iorh : NULL;
	struct hf3fs_file file;
	struct usrbio_arg arg;
	int rc;

	if (!handle || !iov || read != ior->for_read || (uintptr_t)ptr < (uintptr_t)iov->base)
		return -EINVAL;
	rc = hf3fs_file_find(fd, &file);
	if (rc == 0)
		rc = check_file(&file, handle, read);
	if (rc < 0)
		return rc;
	arg = (struct usrbio_arg){
		.buf_off = (uintptr_t)ptr - (uintptr_t)iov->base,
		.file_ino = file.ino,
		.file_off = off,
		.len = len,
		.userdata = (uintptr_t)userdata,
	};
	if (!usrbio_range_ok(iov->size, iov->block_size, arg.buf_off, len))
		return -EINVAL;
	memcpy(arg.buf_id, iov->id, sizeof(arg.buf_id));
	return usrbio_ring_prep(&handle->ior->ring, &arg);
}

int hf3fs_submit_ios(const struct hf3fs_ior *ior)
{
	const struct handle *handle = ior ? ior->iorh : NULL;

	if (!handle)
		return -EINVAL;
	return usrbio_ior_wake(handle->ior);
}

/* Takes what is there, up to `max`. */
static int take(struct usrbio_ior *ior, struct hf3fs_cqe *out, int max)
{
	struct usrbio_cqe cqes[64];
	int n = usrbio_ior_reap_cqes(ior, cqes, max < 64 ? max : 64);

	for (int i = 0; i < n; i++)
		out[i] = (struct hf3fs_cqe){.index = cqes[i].index,
					    .result = cqes[i].result,
					    .userdata = (const void *)(uintptr_t)cqes[i].userdata};
	return n;
}

static bool is_over(const struct timespec *abs_timeout)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec > abs_timeout->tv_sec ||
	       (now.tv_sec == abs_timeout->tv_sec && now.tv_nsec >= abs_timeout->tv_nsec);
}

/* Sleeps until the daemon posts. False when the time is over, however many posts there are: it may lie. */
static bool wait_for_post(struct usrbio_ior *ior, const struct timespec *abs_timeout)
{
	int rc = fst3fs_sem_wait(ior->ring.done, CLOCK_REALTIME, abs_timeout);

	return (rc == 0 || rc == -EINTR || rc == -EAGAIN) && !(abs_timeout && is_over(abs_timeout));
}

int hf3fs_wait_for_ios(const struct hf3fs_ior *ior, struct hf3fs_cqe *cqes, int cqec, int min_results,
		       const struct timespec *abs_timeout)
{
	const struct handle *handle = ior ? ior->iorh : NULL;
	bool in_time = true;
	int got = 0;

	if (!handle || cqec < 0 || (cqec && !cqes))
		return -EINVAL;
	if (min_results > cqec)
		min_results = cqec;
	/* Always a look before sleeping, and one more after the time is over. A post stands for a batch and may belong
	 * to results that were taken already. */
	for (;;) {
		int n = take(handle->ior, cqes + got, cqec - got);

		if (n < 0)
			return got ? got : n;
		got += n;
		if (n > 0 && got < cqec)
			continue;
		if (got >= min_results || !in_time)
			return got;
		in_time = wait_for_post(handle->ior, abs_timeout);
	}
}

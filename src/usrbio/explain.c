/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <errno.h>

struct reason {
	int code;
	const char *text;
};

static const struct reason no_open[] = {
	{-ENOENT, "it has no 3fs-virt/iovs, so it is not the mount point of a 3FS"},
	{-ENOTDIR, "it has no 3fs-virt/iovs, so it is not the mount point of a 3FS"},
	{-ENOTSUP, "its 3fs-virt/iovs/submit-ios does not name a semaphore, so it is not the mount point of a 3FS"},
	{-EACCES, "this user may not open its 3fs-virt/iovs"},
	{-ENOTCONN, "its daemon is gone; it has to be mounted again"},
	{0, NULL},
};

#define OTHER_SHM "share the host's (docker run --ipc=host, or a mount of the host's /dev/shm)"

static const struct reason no_link[] = {
	{-EINVAL, "the daemon does not accept the object, or does not see it: when this is a container with a /dev/shm "
		  "of its own, " OTHER_SHM},
	{-ENOENT,
	 "the daemon does not see the object: when this is a container with a /dev/shm of its own, " OTHER_SHM},
	{-EACCES, "the daemon may not open the object; run it as root, or as this user"},
	{-EPERM, "the daemon may not open the object; run it as root, or as this user"},
	{-EMFILE, "the daemon has no room for another buffer or ring; close some readers"},
	{-ENFILE, "the daemon has no room for another buffer or ring; close some readers"},
	{-ENOSPC, "the daemon has no room for another buffer or ring; close some readers"},
	{-ENOMEM, "the daemon has no room for another buffer or ring; close some readers"},
	{-EIO, "the daemon could not map the object or register it with its network device; its log says more"},
	{-EROFS, "the mount takes no registrations, it is read-only"},
	{-ENOTCONN, "its daemon is gone; it has to be mounted again"},
	{0, NULL},
};

static const struct reason no_sem[] = {
	{-ENOENT, "it is not here: this container has a /dev/shm of its own; " OTHER_SHM},
	{-EACCES, "this user may not open it"},
	{-EINVAL, "it is no semaphore, or somebody has cut it short; mount the 3FS again"},
	{0, NULL},
};

static const char *find(const struct reason *r, int code)
{
	for (; r->text; r++)
		if (r->code == code)
			return r->text;
	return "this is unexpected";
}

int usrbio_explain_open(struct fst3fs_error *err, const char *mount, int code, uint32_t timeout_ms)
{
	if (code == -ETIMEDOUT)
		return fst3fs_err_set(err, code, "%s: the 3FS daemon did not answer within %u ms", mount, timeout_ms);
	return fst3fs_err_set(err, code, "cannot use %s: %s (%s)", mount, find(no_open, code), fst3fs_strerror(code));
}

int usrbio_explain_link(struct fst3fs_error *err, const char *mount, int code, uint32_t timeout_ms)
{
	if (code == -ETIMEDOUT)
		return fst3fs_err_set(err, code, "%s: the 3FS daemon did not register a buffer within %u ms", mount,
				      timeout_ms);
	return fst3fs_err_set(err, code, "cannot register with %s: %s (%s)", mount, find(no_link, code),
			      fst3fs_strerror(code));
}

int usrbio_explain_sem(struct fst3fs_error *err, const char *mount, int code, const char *path)
{
	return fst3fs_err_set(err, code, "cannot open the semaphore %s of %s: %s (%s)", path, mount, find(no_sem, code),
			      fst3fs_strerror(code));
}

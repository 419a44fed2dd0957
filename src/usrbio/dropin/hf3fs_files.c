/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the mount itself: is it 3FS, where is it, and two operations that plain system calls do not have. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "hf3fs_fds.h"
#include "hf3fs_mounts.h"
#include "hf3fs_usrbio.h"
#include "usrbio.h"

enum { NAME_SIZE = 255, MAX_RANGES = 1000 };

struct hardlink_arg {
	ino_t parent;
	char name[NAME_SIZE];
};

struct punchhole_arg {
	int n;
	size_t flags;
	size_t start[MAX_RANGES];
	size_t end[MAX_RANGES];
};

#define IOC_HARDLINK _IOW('h', 12, struct hardlink_arg)
#define IOC_PUNCHHOLE _IOW('h', 13, struct punchhole_arg)

static void before_fork(void)
{
	hf3fs_mounts_lock();
	hf3fs_fds_lock();
}

static void after_fork(void)
{
	hf3fs_fds_unlock();
	hf3fs_mounts_unlock();
}

static void after_fork_in_child(void)
{
	hf3fs_fds_unlock_in_child();
	hf3fs_mounts_unlock();
}

/* A child must not find a lock held by a thread that it has not. */
__attribute__((constructor)) static void install(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

bool hf3fs_is_hf3fs(int fd)
{
	return usrbio_fd_is_3fs(fd) > 0;
}

int hf3fs_extract_mount_point(char *buf, int size, const char *path)
{
	char mount[PATH_MAX];
	size_t len;

	if (!path || usrbio_mount_of(path, mount, sizeof(mount)) != 1)
		return -1;
	len = strlen(mount);
	if (buf && size > 0 && len < (size_t)size)
		memcpy(buf, mount, len + 1);
	return (int)len + 1;
}

/* Splits a path to be made into its directory's inode, on the device `dev`, and its name. */
static int split(const char *path, dev_t dev, struct hardlink_arg *arg)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct stat st;
	char *dir;
	int rc;

	if (!name[0] || strlen(name) >= sizeof(arg->name))
		return name[0] ? ENAMETOOLONG : EINVAL;
	snprintf(arg->name, sizeof(arg->name), "%s", name);
	if (!slash)
		dir = strdup(".");
	else
		dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!dir)
		return ENOMEM;
	rc = stat(dir, &st) < 0 ? errno : st.st_dev != dev ? EXDEV : 0;
	free(dir);
	arg->parent = st.st_ino;
	return rc;
}

static int link_fd(int fd, const char *link_name)
{
	struct hardlink_arg arg = {0};
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return errno;
	rc = split(link_name, st.st_dev, &arg);
	if (rc)
		return rc;
	return ioctl(fd, IOC_HARDLINK, &arg) < 0 ? errno : 0;
}

int hf3fs_hardlink(const char *target, const char *link_name)
{
	int fd, rc;

	if (!target || !link_name)
		return EINVAL;
	fd = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno;
	/* The number means something else to other file systems. */
	rc = usrbio_fd_is_3fs(fd) > 0 ? link_fd(fd, link_name) : EXDEV;
	close(fd);
	return rc;
}

int hf3fs_punchhole(int fd, int n, const size_t *start, const size_t *end, size_t flags)
{
	struct punchhole_arg *arg;
	int rc;

	if (n < 1 || n > MAX_RANGES || !start || !end)
		return EINVAL;
	if (usrbio_fd_is_3fs(fd) <= 0)
		return EBADF;
	arg = calloc(1, sizeof(*arg));
	if (!arg)
		return ENOMEM;
	arg->n = n;
	arg->flags = flags;
	memcpy(arg->start, start, (size_t)n * sizeof(*start));
	memcpy(arg->end, end, (size_t)n * sizeof(*end));
	rc = ioctl(fd, IOC_PUNCHHOLE, arg) < 0 ? errno : 0;
	free(arg);
	return rc;
}

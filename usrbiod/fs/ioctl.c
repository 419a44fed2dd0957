/* SPDX-License-Identifier: Apache-2.0 */
#include "ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "virt.h"
#include "wire.h"

enum {
	IOCTL_VERSION = 1,
	PUNCH_RANGES = 1000,
};

struct hardlink {
	ino_t parent;
	char name[255];
};

struct punchhole {
	int n;
	size_t flags;
	size_t start[PUNCH_RANGES];
	size_t end[PUNCH_RANGES];
};

#define IOC_HARDLINK _IOW('h', 12, struct hardlink)
#define IOC_PUNCHHOLE _IOW('h', 13, struct punchhole)

static void reply_number(fuse_req_t req, uint32_t value, size_t out_size)
{
	if (out_size < sizeof(value))
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_ioctl(req, 0, &value, sizeof(value));
}

static void reply_name(struct fs *fs, fuse_req_t req, size_t out_size)
{
	char name[32] = {0};

	snprintf(name, sizeof(name), "%s", fs->config.cluster);
	if (out_size < sizeof(name))
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_ioctl(req, 0, name, sizeof(name));
}

/* The kernel checks no permission for an ioctl, so that is done here: by the classes of the directory's mode. */
static bool may_change(const struct inode *dir, const struct fuse_ctx *ctx)
{
	struct stat st;

	if (fstatat(dir->fd, "", &st, AT_EMPTY_PATH) || !S_ISDIR(st.st_mode))
		return false;
	if (ctx->uid == 0)
		return true;
	if (ctx->uid == st.st_uid)
		return (st.st_mode & 0300) == 0300;
	return ctx->gid == st.st_gid ? (st.st_mode & 0030) == 0030 : (st.st_mode & 0003) == 0003;
}

static int link_into(fuse_req_t req, const struct inode *file, const struct inode *dir, const char *name)
{
	char path[64];

	if (!may_change(dir, fuse_req_ctx(req)))
		return -EACCES;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	return linkat(AT_FDCWD, path, dir->fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

static int hard_link(struct fs *fs, fuse_req_t req, const struct inode *file, const struct hardlink *arg)
{
	char name[sizeof(arg->name) + 1];
	const struct inode *dir;
	int rc;

	if (fs->config.read_only)
		return -EROFS;
	snprintf(name, sizeof(name), "%.*s", (int)sizeof(arg->name), arg->name);
	if (!*name || strchr(name, '/') || virt_is_name(arg->parent, name))
		return -EINVAL;
	/* The number is the client's word: the kernel may be about to let go of that directory. */
	dir = inodes_hold(fs->inodes, arg->parent);
	if (!dir)
		return -ENOENT;
	rc = link_into(req, file, dir, name);
	inodes_forget(fs->inodes, arg->parent, 1);
	return rc;
}

static int punch_holes(const struct fs *fs, int fd, const struct punchhole *arg)
{
	if (fs->config.read_only)
		return -EROFS;
	if (arg->n < 0 || arg->n > PUNCH_RANGES)
		return -EINVAL;
	for (int i = 0; i < arg->n; i++) {
		if (arg->start[i] > arg->end[i] || arg->end[i] > INT64_MAX)
			return -EINVAL;
		if (arg->start[i] < arg->end[i] &&
		    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)arg->start[i],
			      (off_t)(arg->end[i] - arg->start[i])))
			return -errno;
	}
	return 0;
}

/* Those that change a file; the others are answered before. */
static int change(struct fs *fs, fuse_req_t req, fuse_ino_t ino, unsigned int cmd, const struct fuse_file_info *fi,
		  unsigned flags, const void *in, size_t in_size)
{
	const struct inode *file = virt_owns(ino) ? NULL : inodes_node(fs->inodes, ino);
	struct punchhole punch;
	struct hardlink link;

	if (!file)
		return -ENOTTY;
	if (cmd == IOC_HARDLINK && in_size >= sizeof(link)) {
		memcpy(&link, in, sizeof(link));
		return hard_link(fs, req, file, &link);
	}
	if (cmd == IOC_PUNCHHOLE && !(flags & FUSE_IOCTL_DIR) && in_size >= sizeof(punch)) {
		memcpy(&punch, in, sizeof(punch));
		return punch_holes(fs, (int)fi->fh, &punch);
	}
	return -ENOTTY;
}

void ioctl_handle(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg, struct fuse_file_info *fi,
		  unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	struct fs *fs = fs_begin(req, OP_IOCTL);
	int rc;

	(void)arg;
	switch (cmd) {
	case USRBIO_IOC_MOUNT_NAME:
		reply_name(fs, req, out_size);
		return;
	case USRBIO_IOC_MOUNT_PATH_LEN:
		reply_number(req, (uint32_t)strlen(fs->mountpoint), out_size);
		return;
	case USRBIO_IOC_MAGIC:
		reply_number(req, USRBIO_MAGIC, out_size);
		return;
	case USRBIO_IOC_VERSION:
		reply_number(req, IOCTL_VERSION, out_size);
		return;
	default:
		rc = change(fs, req, ino, cmd, fi, flags, in, in_size);
		if (rc)
			fuse_reply_err(req, -rc);
		else
			fuse_reply_ioctl(req, 0, NULL, 0);
	}
}

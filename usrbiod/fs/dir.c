/* SPDX-License-Identifier: Apache-2.0 */
#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "reply.h"
#include "virt.h"

/* From what inodes_lookup() gave. */
static void fill_entry(struct fs *fs, struct inode *inode, const struct stat *st, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){.ino = inode->ino, .attr = *st};
	entry->attr.st_blksize = (blksize_t)fs->storage->chunk_bytes;
	entry->attr_timeout = entry->entry_timeout = fs->config.attr_timeout_s;
}

/* New files belong to the caller. 0 or a negative errno. */
static int give_to_caller(fuse_req_t req, int dir_fd, const char *name)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	/* Without root's rights the daemon serves its own user alone. */
	if (geteuid() != 0)
		return 0;
	return fchownat(dir_fd, name, ctx->uid, ctx->gid, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static void reply_lookup(struct fs *fs, fuse_req_t req, const struct inode *parent, const char *name)
{
	struct fuse_entry_param entry;
	struct inode *inode;
	struct stat st;
	int rc = parent ? inodes_lookup(fs->inodes, parent, name, &st, &inode) : -ESTALE;

	if (rc) {
		reply_err(fs, req, -rc);
		return;
	}
	fill_entry(fs, inode, &st, &entry);
	reply_entry(fs, req, &entry);
}

void dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_begin(req, OP_LOOKUP);

	if (virt_owns(parent) || virt_is_name(parent, name))
		virt_lookup(fs, req, parent, name);
	else
		reply_lookup(fs, req, inodes_node(fs->inodes, parent), name);
}

void dir_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	struct fs *fs = fuse_req_userdata(req);

	inodes_forget(fs->inodes, ino, lookups);
	fuse_reply_none(req);
}

void dir_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct fs *fs = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++)
		inodes_forget(fs->inodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void dir_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_begin(req, OP_READLINK);
	const struct inode *inode;
	char target[PATH_MAX + 1];
	ssize_t len;

	if (virt_owns(ino)) {
		virt_readlink(fs, req, ino);
		return;
	}
	inode = inodes_node(fs->inodes, ino);
	len = inode ? readlinkat(inode->fd, "", target, sizeof(target)) : -1;
	if (len < 0 || len == sizeof(target)) {
		reply_err(fs, req, !inode ? ESTALE : len < 0 ? errno : ENAMETOOLONG);
		return;
	}
	target[len] = '\0';
	reply_readlink(fs, req, target);
}

/* The parent for an operation that changes names, or NULL when the answer has been given. */
static const struct inode *parent_for_change(struct fs *fs, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct inode *inode = NULL;
	int err = EPERM;

	if (!virt_owns(parent) && !virt_is_name(parent, name)) {
		inode = inodes_node(fs->inodes, parent);
		err = ESTALE;
	}
	if (inode && fs->config.read_only) {
		inode = NULL;
		err = EROFS;
	}
	if (!inode)
		reply_err(fs, req, err);
	return inode;
}

/* The end of an operation that made `name`: 0 or a negative errno. */
static void reply_made(struct fs *fs, fuse_req_t req, const struct inode *parent, const char *name, int rc)
{
	if (rc == 0)
		rc = give_to_caller(req, parent->fd, name);
	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_lookup(fs, req, parent, name);
}

void dir_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs *fs = fs_begin(req, OP_MKDIR);
	const struct inode *dir = parent_for_change(fs, req, parent, name);

	if (dir)
		reply_made(fs, req, dir, name, mkdirat(dir->fd, name, mode) ? -errno : 0);
}

void dir_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_begin(req, OP_SYMLINK);
	const struct inode *dir;

	if (virt_owns(parent)) {
		virt_symlink(fs, req, target, parent, name);
		return;
	}
	dir = parent_for_change(fs, req, parent, name);
	if (dir)
		reply_made(fs, req, dir, name, symlinkat(target, dir->fd, name) ? -errno : 0);
}

void dir_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct fs *fs = fs_begin(req, OP_LINK);
	const struct inode *dir = parent_for_change(fs, req, new_parent, new_name), *inode;
	char path[64];

	if (!dir)
		return;
	inode = inodes_node(fs->inodes, ino);
	if (!inode) {
		reply_err(fs, req, virt_owns(ino) ? EPERM : ESTALE);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inode->fd);
	if (linkat(AT_FDCWD, path, dir->fd, new_name, AT_SYMLINK_FOLLOW))
		reply_err(fs, req, errno);
	else
		reply_lookup(fs, req, dir, new_name);
}

static void remove_name(struct fs *fs, fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	const struct inode *dir = parent_for_change(fs, req, parent, name);

	if (dir)
		reply_err(fs, req, unlinkat(dir->fd, name, flags) ? errno : 0);
}

void dir_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_begin(req, OP_UNLINK);

	if (virt_owns(parent))
		virt_unlink(fs, req, parent, name);
	else
		remove_name(fs, req, parent, name, 0);
}

void dir_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(fs_begin(req, OP_RMDIR), req, parent, name, AT_REMOVEDIR);
}

void dir_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		unsigned int flags)
{
	struct fs *fs = fs_begin(req, OP_RENAME);
	const struct inode *from = parent_for_change(fs, req, parent, name), *to;

	if (!from)
		return;
	to = parent_for_change(fs, req, new_parent, new_name);
	if (to)
		reply_err(fs, req, renameat2(from->fd, name, to->fd, new_name, flags) ? errno : 0);
}

/* ---------------------------------------------------------------- new files */

static int create_file(fuse_req_t req, const struct inode *dir, const char *name, mode_t mode, int flags)
{
	/* Exclusive first, to know whether the file is new and so has to be given to the caller. */
	int fd = openat(dir->fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode), rc;

	if (fd < 0)
		return errno == EEXIST && !(flags & O_EXCL) ? 0 : -errno;
	close(fd);
	rc = give_to_caller(req, dir->fd, name);
	return rc;
}

void dir_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_CREATE);
	const struct inode *dir = parent_for_change(fs, req, parent, name);
	struct fuse_entry_param entry;
	struct inode *inode;
	struct stat st;
	int rc;

	if (!dir)
		return;
	rc = create_file(req, dir, name, mode, fi->flags);
	if (rc == 0)
		rc = inodes_lookup(fs->inodes, dir, name, &st, &inode);
	if (rc) {
		reply_err(fs, req, -rc);
		return;
	}
	rc = handle_open(fs, inode, fi->flags, fi);
	if (rc) {
		inodes_forget(fs->inodes, inode->ino, 1);
		reply_err(fs, req, -rc);
		return;
	}
	fill_entry(fs, inode, &st, &entry);
	reply_create(fs, req, &entry, fi, handle_close);
}

/* ---------------------------------------------------------------- listing */

/* 0 or a negative errno. */
static int open_dir(struct fs *fs, fuse_req_t req, const struct inode *inode, struct fuse_file_info *fi)
{
	int fd = openat(inode->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return handle_opendir(fs, dir, fs_caller(req).pid, fi);
}

void dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_OPENDIR);
	const struct inode *inode;
	int rc;

	if (virt_owns(ino)) {
		virt_opendir(fs, req, ino, fi);
		return;
	}
	inode = inodes_node(fs->inodes, ino);
	rc = inode ? open_dir(fs, req, inode, fi) : -ESTALE;
	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_open(fs, req, ino, fi, handle_closedir);
}

static size_t list_dir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, DIR *dir, char *buf, size_t size)
{
	struct dirent *entry;
	struct stat dir_st;
	size_t used = 0;

	if (fstat(dirfd(dir), &dir_st))
		return 0;
	while ((entry = readdir(dir))) {
		struct stat st = {.st_dev = dir_st.st_dev, .st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
		size_t need;

		if (virt_is_name(ino, entry->d_name))
			continue;
		inodes_renumber(fs->inodes, &st);
		need = fuse_add_direntry(req, buf + used, size - used, entry->d_name, &st, entry->d_off);
		if (need > size - used)
			break;
		used += need;
	}
	return used;
}

void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_READDIR);
	DIR *dir = ((struct dirhandle *)fi->fh)->dir;
	char *buf;

	if (virt_owns(ino)) {
		virt_readdir(fs, req, ino, size, off);
		return;
	}
	buf = malloc(size);
	if (!buf) {
		reply_err(fs, req, ENOMEM);
		return;
	}
	/* The offset is the backing directory's own. What did not fit last time is read again. */
	seekdir(dir, off);
	fuse_reply_buf(req, buf, list_dir(fs, req, ino, dir, buf, size));
	free(buf);
}

void dir_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_RELEASEDIR);

	if (virt_owns(ino)) {
		virt_releasedir(fs, req, ino, fi);
		return;
	}
	handle_closedir(fs, ino, fi->fh);
	fuse_reply_err(req, 0);
}

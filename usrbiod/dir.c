/* SPDX-License-Identifier: Apache-2.0 */
/* Names: everything that takes a directory of the backing file system. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "reply.h"

void fs_entry(struct usrbiod *d, struct inode *inode, const struct stat *st, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){.ino = inode->ino, .attr = *st};
	entry->attr.st_blksize = (blksize_t)(d->options.chunk_kb * 1024);
	entry->attr_timeout = entry->entry_timeout = (double)d->options.attr_timeout_s;
}

int fs_give_to_caller(fuse_req_t req, int dir_fd, const char *name)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	/* Without root's rights the daemon serves its own user alone. */
	if (geteuid() != 0)
		return 0;
	return fchownat(dir_fd, name, ctx->uid, ctx->gid, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static void reply_lookup(struct usrbiod *d, fuse_req_t req, const struct inode *parent, const char *name)
{
	struct fuse_entry_param entry;
	struct inode *inode;
	struct stat st;
	int rc = parent ? inodes_lookup(d->inodes, parent, name, &st, &inode) : -ESTALE;

	if (rc) {
		reply_err(d, req, -rc);
		return;
	}
	fs_entry(d, inode, &st, &entry);
	reply_entry(d, req, &entry);
}

void dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct usrbiod *d = fs_begin(req, OP_LOOKUP);

	if (virt_owns(parent) || virt_is_name(parent, name))
		virt_lookup(d, req, parent, name);
	else
		reply_lookup(d, req, inodes_node(d->inodes, parent), name);
}

void dir_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	struct usrbiod *d = fuse_req_userdata(req);

	inodes_forget(d->inodes, ino, lookups);
	fuse_reply_none(req);
}

void dir_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct usrbiod *d = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++)
		inodes_forget(d->inodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void dir_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct usrbiod *d = fs_begin(req, OP_READLINK);
	const struct inode *inode;
	char target[PATH_MAX + 1];
	ssize_t len;

	if (virt_owns(ino)) {
		virt_readlink(d, req, ino);
		return;
	}
	inode = inodes_node(d->inodes, ino);
	len = inode ? readlinkat(inode->fd, "", target, sizeof(target)) : -1;
	if (len < 0 || len == sizeof(target)) {
		reply_err(d, req, !inode ? ESTALE : len < 0 ? errno : ENAMETOOLONG);
		return;
	}
	target[len] = '\0';
	reply_readlink(d, req, target);
}

/* The parent for an operation that changes names, or NULL when the answer has been given. */
static const struct inode *parent_for_change(struct usrbiod *d, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct inode *inode = NULL;
	int err = EPERM;

	if (!virt_owns(parent) && !virt_is_name(parent, name)) {
		inode = inodes_node(d->inodes, parent);
		err = ESTALE;
	}
	if (inode && d->options.read_only) {
		inode = NULL;
		err = EROFS;
	}
	if (!inode)
		reply_err(d, req, err);
	return inode;
}

/* The end of an operation that made `name`: 0 or a negative errno. */
static void reply_made(struct usrbiod *d, fuse_req_t req, const struct inode *parent, const char *name, int rc)
{
	if (rc == 0)
		rc = fs_give_to_caller(req, parent->fd, name);
	if (rc)
		reply_err(d, req, -rc);
	else
		reply_lookup(d, req, parent, name);
}

void dir_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct usrbiod *d = fs_begin(req, OP_MKDIR);
	const struct inode *dir = parent_for_change(d, req, parent, name);

	if (dir)
		reply_made(d, req, dir, name, mkdirat(dir->fd, name, mode) ? -errno : 0);
}

void dir_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct usrbiod *d = fs_begin(req, OP_SYMLINK);
	const struct inode *dir;

	if (virt_owns(parent)) {
		virt_symlink(d, req, target, parent, name);
		return;
	}
	dir = parent_for_change(d, req, parent, name);
	if (dir)
		reply_made(d, req, dir, name, symlinkat(target, dir->fd, name) ? -errno : 0);
}

void dir_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct usrbiod *d = fs_begin(req, OP_LINK);
	const struct inode *dir = parent_for_change(d, req, new_parent, new_name), *inode;
	char path[64];

	if (!dir)
		return;
	inode = inodes_node(d->inodes, ino);
	if (!inode) {
		reply_err(d, req, virt_owns(ino) ? EPERM : ESTALE);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inode->fd);
	if (linkat(AT_FDCWD, path, dir->fd, new_name, AT_SYMLINK_FOLLOW))
		reply_err(d, req, errno);
	else
		reply_lookup(d, req, dir, new_name);
}

static void remove_name(struct usrbiod *d, fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	const struct inode *dir = parent_for_change(d, req, parent, name);

	if (dir)
		reply_err(d, req, unlinkat(dir->fd, name, flags) ? errno : 0);
}

void dir_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct usrbiod *d = fs_begin(req, OP_UNLINK);

	if (virt_owns(parent))
		virt_unlink(d, req, parent, name);
	else
		remove_name(d, req, parent, name, 0);
}

void dir_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(fs_begin(req, OP_RMDIR), req, parent, name, AT_REMOVEDIR);
}

void dir_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		unsigned int flags)
{
	struct usrbiod *d = fs_begin(req, OP_RENAME);
	const struct inode *from = parent_for_change(d, req, parent, name), *to;

	if (!from)
		return;
	to = parent_for_change(d, req, new_parent, new_name);
	if (to)
		reply_err(d, req, renameat2(from->fd, name, to->fd, new_name, flags) ? errno : 0);
}

/* ---------------------------------------------------------------- new files */

static int create_file(fuse_req_t req, const struct inode *dir, const char *name, mode_t mode, int flags)
{
	/* Exclusive first, to know whether the file is new and so has to be given to the caller. */
	int fd = openat(dir->fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode), rc;

	if (fd < 0)
		return errno == EEXIST && !(flags & O_EXCL) ? 0 : -errno;
	close(fd);
	rc = fs_give_to_caller(req, dir->fd, name);
	return rc;
}

void dir_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_CREATE);
	const struct inode *dir = parent_for_change(d, req, parent, name);
	struct fuse_entry_param entry;
	struct inode *inode;
	struct stat st;
	int rc;

	if (!dir)
		return;
	rc = create_file(req, dir, name, mode, fi->flags);
	if (rc == 0)
		rc = inodes_lookup(d->inodes, dir, name, &st, &inode);
	if (rc) {
		reply_err(d, req, -rc);
		return;
	}
	rc = fs_file_opened(d, inode, fi->flags, fi);
	if (rc) {
		inodes_forget(d->inodes, inode->ino, 1);
		reply_err(d, req, -rc);
		return;
	}
	fs_entry(d, inode, &st, &entry);
	reply_create(d, req, &entry, fi, fs_file_closed);
}

/* ---------------------------------------------------------------- listing */

void fs_dir_closed(struct usrbiod *d, fuse_ino_t ino, uint64_t fh)
{
	(void)ino;
	dirhandle_close(&d->dirs, (struct dirhandle *)fh);
}

/* 0 or a negative errno. */
static int open_dir(struct usrbiod *d, fuse_req_t req, const struct inode *inode, struct fuse_file_info *fi)
{
	int fd = openat(inode->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct dirhandle *h;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	h = dirhandle_open(&d->dirs, dir, fs_caller(req).pid);
	fi->fh = (uint64_t)h;
	return h ? 0 : -ENOMEM;
}

void dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_OPENDIR);
	const struct inode *inode;
	int rc;

	if (virt_owns(ino)) {
		virt_opendir(d, req, ino, fi);
		return;
	}
	inode = inodes_node(d->inodes, ino);
	rc = inode ? open_dir(d, req, inode, fi) : -ESTALE;
	if (rc)
		reply_err(d, req, -rc);
	else
		reply_open(d, req, ino, fi, fs_dir_closed);
}

static size_t list_dir(struct usrbiod *d, fuse_req_t req, fuse_ino_t ino, DIR *dir, char *buf, size_t size)
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
		inodes_renumber(d->inodes, &st);
		need = fuse_add_direntry(req, buf + used, size - used, entry->d_name, &st, entry->d_off);
		if (need > size - used)
			break;
		used += need;
	}
	return used;
}

void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_READDIR);
	DIR *dir = ((struct dirhandle *)fi->fh)->dir;
	char *buf;

	if (virt_owns(ino)) {
		virt_readdir(d, req, ino, size, off);
		return;
	}
	buf = malloc(size);
	if (!buf) {
		reply_err(d, req, ENOMEM);
		return;
	}
	/* The offset is the backing directory's own. What did not fit last time is read again. */
	seekdir(dir, off);
	fuse_reply_buf(req, buf, list_dir(d, req, ino, dir, buf, size));
	free(buf);
}

void dir_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_RELEASEDIR);

	if (virt_owns(ino)) {
		virt_releasedir(d, req, ino, fi);
		return;
	}
	fs_dir_closed(d, ino, fi->fh);
	fuse_reply_err(req, 0);
}

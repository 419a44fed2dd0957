/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fileio.h"
#include "handle.h"
#include "reply.h"
#include "virt.h"

/* ---------------------------------------------------------------- attributes */

static void reply_stat(struct fs *fs, fuse_req_t req, const struct inode *inode)
{
	struct stat st;

	if (fstatat(inode->fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
		reply_err(fs, req, errno);
		return;
	}
	st.st_ino = inode->ino;
	st.st_blksize = (blksize_t)fs->storage->chunk_bytes;
	reply_attr(fs, req, &st, fs->config.attr_timeout_s);
}

void file_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_GETATTR);
	const struct inode *inode;

	(void)fi;
	if (virt_owns(ino)) {
		virt_getattr(fs, req, ino);
		return;
	}
	inode = inodes_node(fs->inodes, ino);
	if (inode)
		reply_stat(fs, req, inode);
	else
		reply_err(fs, req, ESTALE);
}

static int set_size(const struct inode *inode, off_t size, const struct fuse_file_info *fi)
{
	int fd, rc;

	if (fi)
		return ftruncate((int)fi->fh, size) ? -errno : 0;
	fd = inode_reopen(inode, O_WRONLY);
	if (fd < 0)
		return fd;
	rc = ftruncate(fd, size) ? -errno : 0;
	close(fd);
	return rc;
}

static int set_times(const char *path, const struct stat *attr, int valid)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

	if (valid & FUSE_SET_ATTR_ATIME)
		times[0] = attr->st_atim;
	if (valid & FUSE_SET_ATTR_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	if (valid & FUSE_SET_ATTR_MTIME)
		times[1] = attr->st_mtim;
	if (valid & FUSE_SET_ATTR_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	return utimensat(AT_FDCWD, path, times, 0) ? -errno : 0;
}

static int set_attributes(const struct inode *inode, const struct stat *attr, int valid,
			  const struct fuse_file_info *fi)
{
	uid_t uid = valid & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = valid & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;
	char path[64];
	int rc = 0;

	/* An O_PATH fd can only be changed through its name in /proc. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inode->fd);
	if (valid & FUSE_SET_ATTR_MODE && chmod(path, attr->st_mode & 07777))
		return -errno;
	if (valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) &&
	    fchownat(inode->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (valid & FUSE_SET_ATTR_SIZE)
		rc = set_size(inode, attr->st_size, fi);
	if (rc == 0 && valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
		rc = set_times(path, attr, valid);
	return rc;
}

void file_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_SETATTR);
	const struct inode *inode = virt_owns(ino) ? NULL : inodes_node(fs->inodes, ino);
	int rc = -ESTALE;

	if (virt_owns(ino))
		rc = -EPERM;
	else if (inode)
		rc = fs->config.read_only ? -EROFS : set_attributes(inode, attr, valid, fi);
	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_stat(fs, req, inode);
}

/* ---------------------------------------------------------------- opening */

void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_OPEN);
	struct inode *inode = virt_owns(ino) ? NULL : inodes_node(fs->inodes, ino);
	int rc = inode ? handle_open(fs, inode, fi->flags, fi) : -ESTALE;

	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_open(fs, req, ino, fi, handle_close);
}

void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_RELEASE);

	handle_close(fs, ino, fi->fh);
	fuse_reply_err(req, 0);
}

/* ---------------------------------------------------------------- the rest */

void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	fileio_read(fs_begin(req, OP_READ), req, ino, (int)fi->fh, size, off);
}

void file_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off, struct fuse_file_info *fi)
{
	fileio_write(fs_begin(req, OP_WRITE), req, ino, (int)fi->fh, in, off);
}

void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_FSYNC);
	int fd = (int)fi->fh;

	(void)ino;
	reply_err(fs, req, (datasync ? fdatasync(fd) : fsync(fd)) ? errno : 0);
}

void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct fs *fs = fs_begin(req, OP_FALLOCATE);

	(void)ino;
	reply_err(fs, req, fallocate((int)fi->fh, mode, off, len) ? errno : 0);
}

void file_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_begin(req, OP_STATFS);
	struct statvfs st;

	(void)ino;
	if (fstatvfs(inodes_node(fs->inodes, FUSE_ROOT_ID)->fd, &st))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

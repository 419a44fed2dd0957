/* SPDX-License-Identifier: Apache-2.0 */
/* Files: attributes, opening, and ordinary reads and writes, which pass the simulated link too. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "mount.h"
#include "plainio.h"
#include "reply.h"

struct usrbiod *fs_begin(fuse_req_t req, enum stats_op op)
{
	struct usrbiod *d = fuse_req_userdata(req);

	stats_op(&d->stats, op);
	return d;
}

struct caller fs_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct caller){.uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid};
}

static void fs_init(void *userdata, struct fuse_conn_info *conn)
{
	struct usrbiod *d = userdata;

	conn->want |= conn->capable & (FUSE_CAP_IOCTL_DIR | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
	conn->want &= ~(unsigned)FUSE_CAP_SPLICE_READ;
	/* The kernel's default of 12 reads at a time is below what the simulated link needs to be full. */
	conn->max_background = 512;
	conn->congestion_threshold = 512;
	conn->max_readahead = MOUNT_READAHEAD_KB * 1024;
	mount_set_readahead(d->mountpoint);
	mount_tell_parent(d);
}

/* ---------------------------------------------------------------- attributes */

static void reply_stat(struct usrbiod *d, fuse_req_t req, const struct inode *inode)
{
	struct stat st;

	if (fstatat(inode->fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
		reply_err(d, req, errno);
		return;
	}
	st.st_ino = inode->ino;
	st.st_blksize = (blksize_t)(d->options.chunk_kb * 1024);
	reply_attr(d, req, &st, (double)d->options.attr_timeout_s);
}

static void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_GETATTR);
	const struct inode *inode;

	(void)fi;
	if (virt_owns(ino)) {
		virt_getattr(d, req, ino);
		return;
	}
	inode = inodes_node(d->inodes, ino);
	if (inode)
		reply_stat(d, req, inode);
	else
		reply_err(d, req, ESTALE);
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

static void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_SETATTR);
	const struct inode *inode = virt_owns(ino) ? NULL : inodes_node(d->inodes, ino);
	int rc = -ESTALE;

	if (virt_owns(ino))
		rc = -EPERM;
	else if (inode)
		rc = d->options.read_only ? -EROFS : set_attributes(inode, attr, valid, fi);
	if (rc)
		reply_err(d, req, -rc);
	else
		reply_stat(d, req, inode);
}

/* ---------------------------------------------------------------- opening */

int fs_file_opened(struct usrbiod *d, struct inode *inode, int flags, struct fuse_file_info *fi)
{
	int fd;

	if (d->options.read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	/* The kernel positions appends by itself, leaves truncating to this open, and does direct I/O towards the
	 * daemon, not through it. */
	fd = inode_reopen(inode, flags & ~(O_CREAT | O_EXCL | O_APPEND | O_DIRECT | O_NOCTTY));
	if (fd < 0)
		return fd;
	inodes_opened(d->inodes, inode);
	fi->fh = (uint64_t)fd;
	return 0;
}

void fs_file_closed(struct usrbiod *d, fuse_ino_t ino, uint64_t fh)
{
	struct inode *inode = inodes_node(d->inodes, ino);

	close((int)fh);
	if (inode)
		inodes_closed(d->inodes, inode);
}

void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_OPEN);
	struct inode *inode = virt_owns(ino) ? NULL : inodes_node(d->inodes, ino);
	int rc = inode ? fs_file_opened(d, inode, fi->flags, fi) : -ESTALE;

	if (rc)
		reply_err(d, req, -rc);
	else
		reply_open(d, req, ino, fi, fs_file_closed);
}

static void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_RELEASE);

	fs_file_closed(d, ino, fi->fh);
	fuse_reply_err(req, 0);
}

/* ---------------------------------------------------------------- the rest */

static void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	plainio_read(fs_begin(req, OP_READ), req, (int)fi->fh, size, off);
}

static void fs_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	plainio_write(fs_begin(req, OP_WRITE), req, (int)fi->fh, in, off);
}

static void fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_FSYNC);
	int fd = (int)fi->fh;

	(void)ino;
	reply_err(d, req, (datasync ? fdatasync(fd) : fsync(fd)) ? errno : 0);
}

static void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct usrbiod *d = fs_begin(req, OP_FALLOCATE);

	(void)ino;
	reply_err(d, req, fallocate((int)fi->fh, mode, off, len) ? errno : 0);
}

static void fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct usrbiod *d = fs_begin(req, OP_STATFS);
	struct statvfs st;

	(void)ino;
	if (fstatvfs(inodes_node(d->inodes, FUSE_ROOT_ID)->fd, &st))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = fs_init,
	.lookup = dir_lookup,
	.forget = dir_forget,
	.forget_multi = dir_forget_multi,
	.getattr = fs_getattr,
	.setattr = fs_setattr,
	.readlink = dir_readlink,
	.mkdir = dir_mkdir,
	.unlink = dir_unlink,
	.rmdir = dir_rmdir,
	.symlink = dir_symlink,
	.rename = dir_rename,
	.link = dir_link,
	.create = dir_create,
	.open = fs_open,
	.read = fs_read,
	.write_buf = fs_write_buf,
	.release = fs_release,
	.fsync = fs_fsync,
	.fallocate = fs_fallocate,
	.opendir = dir_opendir,
	.readdir = dir_readdir,
	.releasedir = dir_releasedir,
	.statfs = fs_statfs,
	.ioctl = fs_ioctl,
};

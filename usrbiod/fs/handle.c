/* SPDX-License-Identifier: Apache-2.0 */
#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int handle_open(struct fs *fs, struct inode *inode, int flags, struct fuse_file_info *fi)
{
	int fd;

	if (fs->config.read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	/* The kernel positions appends by itself, leaves truncating to this open, and does direct I/O towards the
	 * daemon, not through it. */
	fd = inode_reopen(inode, flags & ~(O_CREAT | O_EXCL | O_APPEND | O_DIRECT | O_NOCTTY));
	if (fd < 0)
		return fd;
	inodes_opened(fs->inodes, inode);
	fi->fh = (uint64_t)fd;
	return 0;
}

void handle_close(struct fs *fs, fuse_ino_t ino, uint64_t fh)
{
	struct inode *inode = inodes_node(fs->inodes, ino);

	close((int)fh);
	if (inode)
		inodes_closed(fs->inodes, inode);
}

int handle_opendir(struct fs *fs, DIR *dir, pid_t pid, struct fuse_file_info *fi)
{
	struct dirhandle *h = dirhandle_open(&fs->dirs, dir, pid);

	fi->fh = (uint64_t)h;
	return h ? 0 : -ENOMEM;
}

void handle_closedir(struct fs *fs, fuse_ino_t ino, uint64_t fh)
{
	(void)ino;
	dirhandle_close(&fs->dirs, (struct dirhandle *)fh);
}

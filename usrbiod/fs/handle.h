/* SPDX-License-Identifier: Apache-2.0 */
/* What is open, as the kernel carries it in fi->fh: a file's backing fd, a directory's struct dirhandle. */
#ifndef USRBIOD_HANDLE_H
#define USRBIOD_HANDLE_H

#include "fs.h"

/* 0 or a negative errno. The file counts as open, so that requests may name it. */
int handle_open(struct fs *fs, struct inode *inode, int flags, struct fuse_file_info *fi);
void handle_close(struct fs *fs, fuse_ino_t ino, uint64_t fh);

/* Takes over `dir`, which is NULL for one of the virtual directory. 0 or a negative errno. */
int handle_opendir(struct fs *fs, DIR *dir, pid_t pid, struct fuse_file_info *fi);
void handle_closedir(struct fs *fs, fuse_ino_t ino, uint64_t fh);

#endif

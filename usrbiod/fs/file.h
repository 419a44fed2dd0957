/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the backing directory: attributes, opening, and what is done with an open one. */
#ifndef USRBIOD_FILE_H
#define USRBIOD_FILE_H

#include <fuse_lowlevel.h>

void file_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi);
void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void file_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off, struct fuse_file_info *fi);
void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void file_statfs(fuse_req_t req, fuse_ino_t ino);

#endif

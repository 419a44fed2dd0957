/* SPDX-License-Identifier: Apache-2.0 */
/* Ordinary read() and write() calls. Each is a job of its own on the simulated link. */
#ifndef USRBIOD_FILEIO_H
#define USRBIOD_FILEIO_H

#include "fs.h"

/* Before the first read. 0 or a negative errno. */
int fileio_init(void);
void fileio_read(struct fs *fs, fuse_req_t req, fuse_ino_t ino, int fd, size_t size, off_t off);
void fileio_write(struct fs *fs, fuse_req_t req, fuse_ino_t ino, int fd, struct fuse_bufvec *in, off_t off);

#endif

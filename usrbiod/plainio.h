/* SPDX-License-Identifier: Apache-2.0 */
/* Ordinary read() and write() calls. Each is a job of its own on the simulated link. */
#ifndef USRBIOD_PLAINIO_H
#define USRBIOD_PLAINIO_H

#include <fuse_lowlevel.h>

struct usrbiod;

/* Before the first read. 0 or a negative errno. */
int plainio_init(void);
void plainio_read(struct usrbiod *d, fuse_req_t req, int fd, size_t size, off_t off);
void plainio_write(struct usrbiod *d, fuse_req_t req, int fd, struct fuse_bufvec *in, off_t off);

#endif

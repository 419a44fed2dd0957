/* SPDX-License-Identifier: Apache-2.0 */
/* The ioctls of a 3FS mount. */
#ifndef USRBIOD_IOCTL_H
#define USRBIOD_IOCTL_H

#include <fuse_lowlevel.h>

void ioctl_handle(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg, struct fuse_file_info *fi,
		  unsigned flags, const void *in, size_t in_size, size_t out_size);

#endif

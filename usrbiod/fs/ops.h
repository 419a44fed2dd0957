/* SPDX-License-Identifier: Apache-2.0 */
/* The table of FUSE operations. Their user data is a struct fs. `init` is left to whoever mounts. */
#ifndef USRBIOD_OPS_H
#define USRBIOD_OPS_H

#include <fuse_lowlevel.h>

extern const struct fuse_lowlevel_ops fs_ops;

#endif

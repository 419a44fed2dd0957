/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting: what is checked before, and what is told to whom when it works. */
#ifndef USRBIOD_MOUNT_H
#define USRBIOD_MOUNT_H

#include <fuse_lowlevel.h>

struct usrbiod;

/* Fills d->fs.mountpoint. Explains on stderr what is wrong, a dead daemon's mount above all. 0 or a negative errno. */
int mount_check(struct usrbiod *d);

/* A session mounted there, or NULL after libfuse has said why. Once it is served, the mount is tuned and the parent
 * that waits is told. */
struct fuse_session *mount_session(struct usrbiod *d);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting: what is checked before, and what is told to whom when it works. */
#ifndef USRBIOD_MOUNT_H
#define USRBIOD_MOUNT_H

#include <fuse_lowlevel.h>

struct usrbiod;

enum {
	MOUNT_READAHEAD_KB = 1024,
};

/* Fills d->mountpoint. Explains on stderr what is wrong, a dead daemon's mount above all. 0 or a negative errno. */
int mount_check(struct usrbiod *d);

/* A session mounted at d->mountpoint, or NULL after libfuse has said why. */
struct fuse_session *mount_session(struct usrbiod *d);

/* Lets the kernel read ahead as much as one request can carry; without the rights for that, it stays as it is. */
void mount_set_readahead(const char *mountpoint);

/* The mount works: lets the waiting parent return, and lets go of the terminal. */
void mount_tell_parent(struct usrbiod *d);

#endif

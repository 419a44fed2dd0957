/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libfuse 3.14 forgets to tell the kernel.
 *
 * It never passes on FUSE_CAP_PARALLEL_DIROPS, although asked to: the kernel then sends one lookup in a directory at a
 * time, so that files opened side by side would wait for one another's metadata latency. The session's answer to the
 * kernel's greeting is completed on its way out.
 */
#ifndef USRBIOD_INITFLAGS_H
#define USRBIOD_INITFLAGS_H

#include <fuse_lowlevel.h>

/* For a session that is mounted. 0 or a negative errno. */
int initflags_attach(struct fuse_session *session);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A symlink in 3fs-virt/iovs comes, and registers a buffer or a ring that is served from then on; and it goes. */
#ifndef USRBIOD_REGISTRATION_H
#define USRBIOD_REGISTRATION_H

#include "fs.h"

/* symlink(target, name). The reference in `out` is the caller's. 0; -EINVAL key or object; -EEXIST; -EACCES the object
 * is not the caller's; -EMFILE, -ENFILE: more than one user, or all, may have; another negative errno. */
int registration_add(struct fs *fs, const char *name, const char *target, const struct caller *caller,
		     struct iov **out);

/* unlink(name): 0, -ENOENT, or -EACCES when it is another user's. Requests that run keep what they use. */
int registration_remove(struct fs *fs, const char *name, uid_t uid);
/* Of all that was registered under that pid. */
void registration_remove_pid(struct fs *fs, pid_t pid);

#endif

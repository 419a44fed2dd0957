/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object in /dev/shm that a client offers: a buffer, or the memory of a ring.
 */
#ifndef USRBIOD_IOV_H
#define USRBIOD_IOV_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "key.h"

/* Who calls, as FUSE reports it; the pid is the calling thread's. */
struct caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

enum {
	IOV_NAME_MAX = 255,
};

/* One registered object and its mapping, which lives until the registration and all requests have let go. */
struct iov {
	_Atomic int refs;
	struct iov *next; /* in the table, or in what was taken out of it */
	struct caller owner;
	struct key key;
	uint64_t serial; /* names the symlink's node; 0 = not in the table yet */
	time_t created;
	char name[IOV_NAME_MAX + 1];   /* the key, as written */
	char target[IOV_NAME_MAX + 1]; /* /dev/shm/... */
	uint8_t *base;
	size_t size;
};

/* Checks and maps what symlink(target, name) offers; `strict` as in key_parse(). 0 and a reference; -EINVAL key or
 * object; -EACCES the object is not the caller's; another negative errno. */
int iov_new(const char *name, bool strict, const char *target, const struct caller *caller, struct iov **out);
void iov_get(struct iov *iov);
void iov_put(struct iov *iov);

#endif

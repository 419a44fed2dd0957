/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations: the buffers and rings that clients made known by a symlink in 3fs-virt/iovs.
 */
#ifndef USRBIOD_IOVS_H
#define USRBIOD_IOVS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "key.h"

struct iovs;
struct ring;
struct usrbiod;

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
	struct iov *next;
	struct caller owner;
	struct key key;
	uint64_t serial; /* names the symlink's node */
	time_t created;
	char name[IOV_NAME_MAX + 1];   /* the key, as written */
	char target[IOV_NAME_MAX + 1]; /* /dev/shm/... */
	uint8_t *base;
	size_t size;
	struct ring *ring; /* NULL = a buffer; not to be used once deregistered */
};

struct iovs *iovs_new(struct usrbiod *d);
/* Deregisters everything. */
void iovs_free(struct iovs *t);

/* symlink(target, name): maps the object and registers it. The reference in `out` is the caller's. 0; -EINVAL key or
 * object; -EEXIST; -EACCES the object is not the caller's; -ENFILE too many; another negative errno. */
int iovs_add(struct iovs *t, const char *name, const char *target, const struct caller *caller, struct iov **out);

/* unlink(name): 0, -ENOENT, or -EACCES when it is another user's. */
int iovs_remove(struct iovs *t, const char *name, uid_t uid);
/* Deregisters all that was registered under that pid. */
void iovs_remove_pid(struct iovs *t, pid_t pid);

/* By name (-ENOENT, -EACCES), by node, by buffer id (rings are none); each with a reference for the caller. */
int iovs_find(struct iovs *t, const char *name, uid_t uid, struct iov **out);
struct iov *iovs_node(struct iovs *t, uint64_t serial);
struct iov *iovs_buffer(struct iovs *t, const uint8_t id[16]);
void iov_put(struct iov *iov);

/* Calls `fn` for each registration of the user with a serial above `after`, in order, until it returns nonzero. */
void iovs_each(struct iovs *t, uid_t uid, uint64_t after, int (*fn)(const struct iov *iov, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of registrations: the buffers and rings that clients made known by a symlink in 3fs-virt/iovs.
 */
#ifndef USRBIOD_IOVS_H
#define USRBIOD_IOVS_H

#include "iov.h"
#include "stats.h"

struct iovs;

struct iovs *iovs_new(struct stats *stats);
/* NULL is fine. */
void iovs_free(struct iovs *t);

/* From now on it can be found, and the table has a reference. 0; -EEXIST; -EMFILE the user has too many buffers,
 * -ENFILE all users have too many registrations. */
int iovs_insert(struct iovs *t, struct iov *iov);

/* Takes one out for its owner: -ENOENT, or -EACCES when it is another user's. The table's reference is the caller's. */
int iovs_take(struct iovs *t, const char *name, uid_t uid, struct iov **out);
/* Takes out all that were registered under that pid: a list by `next`, with the table's references. */
struct iov *iovs_take_pid(struct iovs *t, pid_t pid);

/* By name (-ENOENT, -EACCES), by node, by buffer id (rings are none); each with a reference for the caller. */
int iovs_find(struct iovs *t, const char *name, uid_t uid, struct iov **out);
struct iov *iovs_node(struct iovs *t, uint64_t serial);
struct iov *iovs_buffer(struct iovs *t, const uint8_t id[16]);

/* Calls `fn` for each registration of the user with a serial above `after`, in order, until it returns nonzero. */
void iovs_each(struct iovs *t, uid_t uid, uint64_t after, int (*fn)(const struct iov *iov, void *arg), void *arg);

#endif

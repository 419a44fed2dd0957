/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids that tell who made them, so that what a killed process left in /dev/shm can be told from what is in use.
 *
 * An id is a UUID of version 8 (the version for layouts of one's own). Its 122 free bits, the first byte's highest bit
 * first, are
 *
 * - 22, the pid, as the owner itself sees it (PID_MAX_LIMIT is 2^22);
 * - 36, the start time of that process in clock ticks since boot: field 22 of /proc/<pid>/stat, 0 = unknown;
 * - 24, the pid namespace: the low bits of the inode of /proc/self/ns/pid;
 * - 40, random.
 *
 * Bits 48-51 hold the version and bits 64-65 the variant (binary 10), as in every UUID, and are not counted above.
 */
#ifndef USRBIO_OWNER_H
#define USRBIO_OWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct usrbio_owner {
	pid_t pid;
	uint64_t start; /* ticks, 0 = unknown */
	uint32_t pid_ns;
};

/* This process. */
struct usrbio_owner usrbio_owner_self(void);

/* A fresh id of `owner`. 0 or a negative errno (no random numbers). */
int usrbio_owner_encode(const struct usrbio_owner *owner, uint8_t id[16]);
/* The owner of an id; false when the id is not of version 8. */
bool usrbio_owner_decode(const uint8_t id[16], struct usrbio_owner *owner);

/* Is `owner`, of the same pid namespace as `self`, certainly gone? */
bool usrbio_owner_is_dead(const struct usrbio_owner *owner, const struct usrbio_owner *self);

#endif

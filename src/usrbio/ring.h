/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a USRBIO ring, on memory that somebody else made: nothing here opens, maps, waits or asks a
 * clock.
 *
 * Threads: one thread prepares and one thread reaps; they may be two. What they share is atomic.
 *
 * Trust: the other end is another process. All that it writes (sqe_tail, cqe_head, the completions) is read once and
 * checked; what this end needs to know again (its own indices, lengths, user data) it keeps in its own memory.
 */
#ifndef USRBIO_RING_H
#define USRBIO_RING_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum { USRBIO_MAX_ENTRIES = 1 << 20 };

/* What this end remembers of a request. */
struct usrbio_slot {
	uint64_t userdata;
	uint64_t len;
	bool busy; /* atomic: between preparation and completion */
};

struct usrbio_ring {
	struct usrbio_ring_header *hdr;
	struct usrbio_arg *args;
	const struct usrbio_cqe *cqes;
	struct usrbio_sqe *sqes;
	sem_t *done;
	int32_t slots;

	int32_t sqe_head; /* preparing thread's */
	int32_t sqe_tail; /* preparing thread's: the peer's index as last seen */
	int32_t cqe_tail; /* reaping thread's */

	struct usrbio_slot *slot;
	/* Free slots, first in first out: the reaping thread adds at `freed`, the preparing thread takes at `taken`.
	 * Both only grow. It holds slots - 1: a request more than that in the ring is what the daemon cannot take. */
	int32_t *free_slots;
	uint64_t freed, taken;
};

/* Bytes of shared memory for a ring with room for `entries` requests; 0 when `entries` is out of range. */
size_t usrbio_ring_size(int entries);

/* Lays a ring over `mem`, which is `size` zero bytes as usrbio_ring_size gave it. 0, -EINVAL or -ENOMEM. */
int usrbio_ring_init(struct usrbio_ring *r, void *mem, size_t size);
void usrbio_ring_fini(struct usrbio_ring *r);

/* Queues `arg`. The daemon may see it at once. The slot's number; -EAGAIN: reap, then try again; -EPROTO: the daemon
 * wrote nonsense. */
int usrbio_ring_prep(struct usrbio_ring *r, const struct usrbio_arg *arg);

/* Takes up to `max` completions; how many, or -EPROTO when the next one is nonsense (and so is the ring, from then on).
 * Their index, result and userdata have been checked. */
int usrbio_ring_reap(struct usrbio_ring *r, struct usrbio_cqe *out, int max);

/* Requests prepared and not yet reaped, as the reaping thread may know it: never less than there are of those whose
 * preparation it has heard of. */
int usrbio_ring_outstanding(struct usrbio_ring *r);

#endif

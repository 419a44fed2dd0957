/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>

size_t usrbio_ring_size(int entries)
{
	if (entries < 1 || entries > USRBIO_MAX_ENTRIES)
		return 0;
	return USRBIO_RING_FIXED + (size_t)USRBIO_SLOT_BYTES * ((size_t)entries + 1);
}

int usrbio_ring_init(struct usrbio_ring *r, void *mem, size_t size)
{
	if (size < USRBIO_RING_FIXED + 2 * USRBIO_SLOT_BYTES)
		return -EINVAL;
	*r = (struct usrbio_ring){.slots = (int32_t)((size - USRBIO_RING_FIXED) / USRBIO_SLOT_BYTES)};
	r->hdr = mem;
	r->args = (struct usrbio_arg *)(r->hdr + 1);
	r->cqes = (struct usrbio_cqe *)(r->args + r->slots);
	r->sqes = (struct usrbio_sqe *)(r->cqes + r->slots);
	r->done = (sem_t *)(r->sqes + r->slots);
	r->slot = calloc((size_t)r->slots, sizeof(*r->slot));
	r->free_slots = calloc((size_t)r->slots, sizeof(*r->free_slots));
	if (!r->slot || !r->free_slots) {
		usrbio_ring_fini(r);
		return -ENOMEM;
	}
	for (r->freed = 0; r->freed < (uint64_t)r->slots - 1; r->freed++)
		r->free_slots[r->freed] = (int32_t)r->freed;
	return 0;
}

void usrbio_ring_fini(struct usrbio_ring *r)
{
	free(r->free_slots);
	free(r->slot);
	*r = (struct usrbio_ring){0};
}

static int32_t next(const struct usrbio_ring *r, int32_t i)
{
	return i + 1 == r->slots ? 0 : i + 1;
}

/* How far `to` is ahead of `from`. */
static int32_t distance(const struct usrbio_ring *r, int32_t from, int32_t to)
{
	return to >= from ? to - from : to - from + r->slots;
}

static bool index_ok(const struct usrbio_ring *r, int32_t i)
{
	return i >= 0 && i < r->slots;
}

/* Is there a place in the submission queue (tests/models/ring.pml: FULL_UNCHECKED)? */
static int check_room(struct usrbio_ring *r)
{
	/* Pairs with the daemon's store when a job ends: what it read from the entries behind it is behind us too. */
	int32_t tail = __atomic_load_n(&r->hdr->sqe_tail, __ATOMIC_SEQ_CST);

	if (!index_ok(r, tail) || distance(r, r->sqe_tail, tail) > distance(r, r->sqe_tail, r->sqe_head))
		return -EPROTO;
	r->sqe_tail = tail;
	return next(r, r->sqe_head) == tail ? -EAGAIN : 0;
}

/* Modelled, with what follows and the daemon's end, in tests/models/ring.pml. */
static int32_t take_slot(struct usrbio_ring *r)
{
	int32_t i;

	/* Pairs with the store in give_slot, so that the reaping thread is done with the slot
	 * (tests/models/ring.pml: FREED_LOAD_RELAXED, FREED_STORE_RELAXED). */
	if (__atomic_load_n(&r->freed, __ATOMIC_ACQUIRE) == r->taken)
		return -EAGAIN;
	i = r->free_slots[r->taken % (uint64_t)r->slots];
	/* Before sqe_head moves: whoever sees the completion counts the request as taken
	 * (tests/models/ring.pml: TAKEN_AFTER_HEAD). */
	__atomic_store_n(&r->taken, r->taken + 1, __ATOMIC_RELEASE);
	return i;
}

static void give_slot(struct usrbio_ring *r, int32_t i)
{
	r->free_slots[r->freed % (uint64_t)r->slots] = i;
	__atomic_store_n(&r->freed, r->freed + 1, __ATOMIC_RELEASE);
}

int usrbio_ring_prep(struct usrbio_ring *r, const struct usrbio_arg *arg)
{
	int rc = check_room(r);
	int32_t i;

	if (rc < 0)
		return rc;
	i = take_slot(r);
	if (i < 0)
		return i;
	r->slot[i].userdata = arg->userdata;
	r->slot[i].len = arg->len;
	__atomic_store_n(&r->slot[i].busy, true, __ATOMIC_RELEASE);
	r->args[i] = *arg;
	r->sqes[r->sqe_head] = (struct usrbio_sqe){.index = i, .userdata = arg->userdata};
	r->sqe_head = next(r, r->sqe_head);
	/* Pairs with the daemon's load: it sees the entry and the request complete
	 * (tests/models/ring.pml: HEAD_STORE_RELAXED). */
	__atomic_store_n(&r->hdr->sqe_head, r->sqe_head, __ATOMIC_SEQ_CST);
	return i;
}

/* Copies the completion at cqe_tail and checks it against the request. The user data is taken from this end's record:
 * callers make pointers of it. */
static int read_completion(struct usrbio_ring *r, struct usrbio_cqe *out)
{
	/* Volatile: the daemon may write at any time, so each field is read once and what was checked is what is used.
	 */
	const volatile struct usrbio_cqe *cqe = &r->cqes[r->cqe_tail];
	int32_t i = cqe->index;
	int64_t result = cqe->result;

	if (!index_ok(r, i) || !__atomic_load_n(&r->slot[i].busy, __ATOMIC_ACQUIRE))
		return -EPROTO;
	if (result > 0 && (uint64_t)result > r->slot[i].len)
		return -EPROTO;
	/* Not an errno: some other failure, and no less one. */
	if (result < -4095)
		result = -EIO;
	*out = (struct usrbio_cqe){.index = i, .result = result, .userdata = r->slot[i].userdata};
	return 0;
}

int usrbio_ring_reap(struct usrbio_ring *r, struct usrbio_cqe *out, int max)
{
	/* Pairs with the daemon's store: the completions up to here are written
	 * (tests/models/ring.pml: CQE_HEAD_LOAD_RELAXED). */
	int32_t head = __atomic_load_n(&r->hdr->cqe_head, __ATOMIC_SEQ_CST);
	int n = 0;

	if (!index_ok(r, head))
		return -EPROTO;
	while (n < max && r->cqe_tail != head) {
		if (read_completion(r, &out[n]) < 0)
			return n ? n : -EPROTO;
		__atomic_store_n(&r->slot[out[n].index].busy, false, __ATOMIC_RELAXED);
		r->cqe_tail = next(r, r->cqe_tail);
		/* First the queue's place, then the slot: the daemon must never find more requests in the ring than
		 * there is room for their completions (tests/models/ring.pml: SLOT_BEFORE_PLACE). */
		__atomic_store_n(&r->hdr->cqe_tail, r->cqe_tail, __ATOMIC_SEQ_CST);
		give_slot(r, out[n].index);
		n++;
	}
	return n;
}

int usrbio_ring_outstanding(struct usrbio_ring *r)
{
	uint64_t taken = __atomic_load_n(&r->taken, __ATOMIC_ACQUIRE);

	return (int)(taken + (uint64_t)r->slots - 1 - r->freed);
}

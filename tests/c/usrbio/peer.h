/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's end of a ring, played on the same memory. It derives the layout from the size by itself. */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ring.h"
#include "wire.h"

struct peer {
	void *mem;
	size_t size;
	struct usrbio_ring_header *hdr;
	struct usrbio_arg *args;
	struct usrbio_cqe *cqes;
	struct usrbio_sqe *sqes;
	sem_t *sem;
	int32_t slots;
	int32_t next_sqe; /* what it takes next; sqe_tail stays behind until the job is over */
};

static inline void peer_make(struct peer *p, int entries)
{
	uint8_t *at;

	p->size = 16 + 32 + 4096 + 96 * ((size_t)entries + 1);
	p->mem = at = aligned_alloc(64, (p->size + 63) / 64 * 64);
	for (size_t i = 0; i < p->size; i++)
		at[i] = 0;
	p->slots = (int32_t)((p->size - 4096 - 16 - 32) / 96);
	p->hdr = p->mem;
	p->args = (struct usrbio_arg *)(at + 16);
	p->cqes = (struct usrbio_cqe *)(at + 16 + 56 * (size_t)p->slots);
	p->sqes = (struct usrbio_sqe *)(at + 16 + 80 * (size_t)p->slots);
	p->sem = (sem_t *)(at + 16 + 96 * (size_t)p->slots);
	p->next_sqe = 0;
	sem_init(p->sem, 0, 0);
}

static inline void peer_free(struct peer *p)
{
	sem_destroy(p->sem);
	free(p->mem);
}

/* The slot of the next request, or -1. */
static inline int32_t peer_take(struct peer *p)
{
	int32_t slot;

	if (p->next_sqe == __atomic_load_n(&p->hdr->sqe_head, __ATOMIC_SEQ_CST))
		return -1;
	slot = p->sqes[p->next_sqe].index;
	p->next_sqe = (p->next_sqe + 1) % p->slots;
	return slot;
}

/* Ends the oldest `n` jobs. */
static inline void peer_advance(struct peer *p, int n)
{
	__atomic_store_n(&p->hdr->sqe_tail, (p->hdr->sqe_tail + n) % p->slots, __ATOMIC_SEQ_CST);
}

static inline void peer_complete(struct peer *p, int32_t slot, int64_t result)
{
	int32_t head = p->hdr->cqe_head;

	p->cqes[head] = (struct usrbio_cqe){.index = slot, .result = result, .userdata = p->args[slot].userdata};
	__atomic_store_n(&p->hdr->cqe_head, (head + 1) % p->slots, __ATOMIC_SEQ_CST);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a ring in memory that a daemon may write anything into, at any time between two calls.
 *
 * An input is a program: what the client does, what an honest daemon does, and what a lying one writes. The properties
 * hold throughout: a request is completed once at most, with its own user data and no more bytes than it asked for; no
 * slot is in use twice; every call ends; nothing is read or written outside.
 *
 * Covers: src/usrbio/ring.c src/base/sharedsem.c src/base/waker.c
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fuzz.h"
#include "ior.h"
#include "iov.h"
#include "waker.h"

enum {
	MAX_ENTRIES = 9,
	REQUESTS = 256,
	BUFFER = 4096,
};

struct request {
	uint64_t len;
	int slot;
	bool in_flight;
};

struct run {
	struct fuzz_input in;
	struct usrbio_ior ior;
	struct fst3fs_waker waker;
	struct usrbio_iov iov;
	sem_t submit;
	uint8_t *memory;
	size_t size;
	struct request requests[REQUESTS]; /* by user data */
	size_t count;
	int in_flight;
	bool broken; /* a call has said so; what the daemon says counts for nothing from then on */
};

/* ------------------------------------------------------------------ the client */

static void prepare(struct run *r)
{
	uint64_t off = fuzz_number(&r->in, 2), len = fuzz_number(&r->in, 2);
	int rc;

	if (r->count == REQUESTS)
		return;
	r->iov.block_size = fuzz_choice(&r->in, 4) ? 0 : 512;
	rc = usrbio_ior_prep(&r->ior, &r->iov, off, 1, 0, len, r->count);
	if (rc < 0) {
		HOLDS(rc == -EAGAIN || rc == -EINVAL || rc == -EPROTO);
		return;
	}
	HOLDS(off + len <= BUFFER);
	HOLDS(r->in_flight < r->ior.ring.slots - 1);
	r->requests[r->count++] = (struct request){.len = len, .in_flight = true};
	r->in_flight++;
}

static void check_result(struct run *r, int64_t result, uint64_t userdata)
{
	struct request *q = &r->requests[userdata];

	HOLDS(userdata < r->count && q->in_flight);
	HOLDS(result >= -4095 && (result < 0 || (uint64_t)result <= q->len));
	q->in_flight = false;
	r->in_flight--;
}

static void reap(struct run *r)
{
	struct usrbio_result results[MAX_ENTRIES];
	int max = (int)fuzz_choice(&r->in, MAX_ENTRIES + 1), n = usrbio_ior_reap(&r->ior, results, max);

	HOLDS(n == -EPROTO || (n >= 0 && n <= max));
	for (int i = 0; i < n; i++)
		check_result(r, results[i].result, results[i].userdata);
	HOLDS(usrbio_ring_outstanding(&r->ior.ring) == r->in_flight);
}

/* As the drop-in does. */
static void reap_cqes(struct run *r)
{
	struct usrbio_cqe cqes[MAX_ENTRIES];
	int max = (int)fuzz_choice(&r->in, MAX_ENTRIES + 1), n = usrbio_ior_reap_cqes(&r->ior, cqes, max);

	HOLDS(n == -EPROTO || (n >= 0 && n <= max));
	for (int i = 0; i < n; i++) {
		HOLDS(cqes[i].index >= 0 && cqes[i].index < r->ior.ring.slots);
		check_result(r, cqes[i].result, cqes[i].userdata);
	}
}

/* A deadline that is over: it must end whatever the semaphore holds. */
static void wait(struct run *r)
{
	fst3fs_waker_wait(&r->waker, fst3fs_now_ns());
}

/* ------------------------------------------------------------------ the daemon */

static uint8_t *cqe_at(struct run *r, unsigned i)
{
	return (uint8_t *)(uintptr_t)&r->ior.ring.cqes[i % (unsigned)r->ior.ring.slots];
}

/* Completes what stands in a slot, as it should, or nearly. */
static void complete(struct run *r)
{
	struct usrbio_ring_header *hdr = r->ior.ring.hdr;
	unsigned slots = (unsigned)r->ior.ring.slots, head = (unsigned)hdr->cqe_head % slots;
	unsigned slot = fuzz_choice(&r->in, slots + 2);
	struct usrbio_cqe cqe = {
		.index = (int32_t)slot,
		.result = (int16_t)fuzz_number(&r->in, 2),
		.userdata = r->ior.ring.args[slot % slots].userdata,
	};

	memcpy(cqe_at(r, head), &cqe, sizeof(cqe));
	hdr->cqe_head = (int32_t)((head + 1) % slots);
	fst3fs_waker_post(&r->waker);
}

static void advance(struct run *r)
{
	struct usrbio_ring_header *hdr = r->ior.ring.hdr;

	hdr->sqe_tail = (int32_t)(((unsigned)hdr->sqe_tail + fuzz_choice(&r->in, 4)) % (unsigned)r->ior.ring.slots);
}

static void write_index(struct run *r)
{
	unsigned which = fuzz_choice(&r->in, 4);
	int32_t value = (int32_t)fuzz_number(&r->in, 4);

	memcpy(r->memory + 4 * (size_t)which, &value, sizeof(value));
}

static void write_completion(struct run *r)
{
	uint8_t *to = cqe_at(r, fuzz_choice(&r->in, 16));

	for (size_t i = 0; i < sizeof(struct usrbio_cqe); i++)
		to[i] = (uint8_t)fuzz_number(&r->in, 1);
}

/* The semaphore is theirs to write as well. */
static void write_semaphore(struct run *r)
{
	uint8_t *to = (uint8_t *)(fuzz_choice(&r->in, 2) ? r->ior.ring.done : &r->submit);

	for (size_t i = 0; i < sizeof(sem_t); i++)
		to[i] = (uint8_t)fuzz_number(&r->in, 1);
}

static void write_anywhere(struct run *r)
{
	size_t at = (size_t)fuzz_number(&r->in, 2) % r->size;

	r->memory[at] = (uint8_t)fuzz_number(&r->in, 1);
}

/* ------------------------------------------------------------------ */

static void (*const steps[])(struct run *r) = {
	prepare,	 reap,		 reap_cqes, wait, complete, advance, write_index, write_completion,
	write_semaphore, write_anywhere,
};

static void begin(struct run *r, const uint8_t *data, size_t size)
{
	r->in = (struct fuzz_input){data, data + size};
	r->size = usrbio_ring_size((int)fuzz_choice(&r->in, MAX_ENTRIES) + 1);
	r->memory = calloc(1, r->size);
	HOLDS(r->memory && usrbio_ring_init(&r->ior.ring, r->memory, r->size) == 0);
	sem_init(r->ior.ring.done, 1, 0);
	sem_init(&r->submit, 1, 0);
	r->ior.submit = &r->submit;
	r->iov.size = BUFFER;
	fst3fs_waker_init(&r->waker);
	fst3fs_waker_lend(&r->waker, usrbio_ior_semaphore(&r->ior));
}

static void end(struct run *r)
{
	fst3fs_waker_fini(&r->waker);
	usrbio_ring_fini(&r->ior.ring);
	free(r->memory);
	free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run *r = calloc(1, sizeof(*r));

	HOLDS(r);
	begin(r, data, size);
	while (r->in.at < r->in.end) {
		steps[fuzz_choice(&r->in, sizeof(steps) / sizeof(steps[0]))](r);
		usrbio_ior_submit(&r->ior);
	}
	end(r);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usrbiod's end of a ring in memory that a client may write anything into, at any time between two looks at it.
 *
 * An input is a program: what an honest client does, what a lying one writes, and when the daemon looks. The properties
 * hold throughout: a request never moves a byte outside the buffer that it names, nor into one of another user; it
 * completes with no more bytes than it asked for; the queues hold no more than they have room for; all that was held
 * for it (file, buffer, memory) is let go in the end.
 *
 * Covers: usrbiod/rings/ring.c usrbiod/rings/request.c usrbiod/rings/job.c usrbiod/storage/batch.c
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ring.h"
#include "rings_world.h"

enum {
	MAX_SLOTS = 9,
	JOBS = 4, /* at a look */
};

struct run {
	struct fuzz_input in;
	struct world *world;
	struct iov *iov;
	struct ring *ring;
	uint8_t *memory;
	size_t size;
};

/* ------------------------------------------------------------------ the client */

static uint64_t number_like(struct run *r)
{
	switch (fuzz_choice(&r->in, 4)) {
	case 0:
		return fuzz_number(&r->in, 8);
	case 1:
		return INT64_MAX - fuzz_number(&r->in, 1);
	default:
		return fuzz_number(&r->in, 2);
	}
}

static void write_request(struct run *r)
{
	unsigned slots = (unsigned)r->ring->slots, i = fuzz_choice(&r->in, slots);
	struct usrbio_arg *arg = &r->ring->args[i];

	memcpy(arg->buf_id, world_buffer(r->world, fuzz_choice(&r->in, WORLD_BUFFERS + 1)), sizeof(arg->buf_id));
	arg->file_ino = world_file(r->world, fuzz_choice(&r->in, WORLD_FILES + 1));
	arg->buf_off = number_like(r);
	arg->file_off = number_like(r);
	arg->len = number_like(r);
}

static void submit(struct run *r)
{
	struct usrbio_ring_header *hdr = r->ring->header;
	unsigned slots = (unsigned)r->ring->slots, head = (unsigned)hdr->sqe_head % slots;

	r->ring->sqes[head] = (struct usrbio_sqe){.index = (int32_t)fuzz_choice(&r->in, slots + 1), .userdata = head};
	hdr->sqe_head = (int32_t)((head + 1) % slots);
}

static void take_completions(struct run *r)
{
	r->ring->header->cqe_tail = r->ring->header->cqe_head;
}

static void write_index(struct run *r)
{
	unsigned which = fuzz_choice(&r->in, 4);
	int32_t value = (int32_t)fuzz_number(&r->in, 4);

	memcpy(r->memory + 4 * (size_t)which, &value, sizeof(value));
}

static void write_submission(struct run *r)
{
	uint8_t *to = (uint8_t *)&r->ring->sqes[fuzz_choice(&r->in, (unsigned)r->ring->slots)];

	for (size_t i = 0; i < sizeof(struct usrbio_sqe); i++)
		to[i] = (uint8_t)fuzz_number(&r->in, 1);
}

static void write_semaphore(struct run *r)
{
	uint8_t *to = (uint8_t *)r->ring->completed;

	for (size_t i = 0; i < sizeof(sem_t); i++)
		to[i] = (uint8_t)fuzz_number(&r->in, 1);
}

static void write_anywhere(struct run *r)
{
	size_t at = (size_t)fuzz_number(&r->in, 2) % r->size;

	r->memory[at] = (uint8_t)fuzz_number(&r->in, 1);
}

/* ------------------------------------------------------------------ the daemon */

/* A completion that has just been written at place `i`. */
static void check_completion(const struct run *r, int i)
{
	const struct usrbio_cqe *cqe = &r->ring->cqes[i];
	bool known = cqe->index >= 0 && cqe->index < r->ring->slots;

	HOLDS(cqe->result >= -4095);
	HOLDS(cqe->result < 0 || (known && (uint64_t)cqe->result <= r->ring->args[cqe->index].len));
}

static void look(struct run *r)
{
	struct job *jobs[JOBS];
	int first = r->ring->cqe_head, n = ring_form(r->ring, jobs, (int)fuzz_choice(&r->in, JOBS) + 1);

	HOLDS(r->ring->running <= r->ring->slots - 1);
	for (int i = 0; i < n; i++)
		world_run(r->world, jobs[i]);
	for (int i = first; i != r->ring->cqe_head; i = (i + 1) % r->ring->slots)
		check_completion(r, i);
	/* What hangs on purpose completes nothing. */
	HOLDS(r->ring->header->cqe_head == r->ring->cqe_head || first == r->ring->cqe_head);
}

static void deregister(struct run *r)
{
	ring_close(r->ring);
}

/* ------------------------------------------------------------------ */

static void (*const steps[])(struct run *r) = {
	write_request, submit, take_completions, look,		 write_index, write_submission, write_request,
	submit,	       look,   write_semaphore,	 write_anywhere, deregister,
};

static const int depths[] = {1, 0, 2, -2, 1, 0, 7, -1000};

static bool begin(struct run *r, const uint8_t *data, size_t size)
{
	unsigned kind;

	r->in = (struct fuzz_input){data, data + size};
	kind = fuzz_choice(&r->in, 256);
	/* One that is a byte short of two slots, too. */
	r->size = USRBIO_RING_FIXED + USRBIO_SLOT_BYTES * (size_t)(1 + fuzz_choice(&r->in, MAX_SLOTS)) + kind / 128;
	r->memory = calloc(1, r->size);
	r->iov = calloc(1, sizeof(*r->iov));
	HOLDS(r->memory && r->iov);
	*r->iov = (struct iov){.refs = 1, .base = r->memory, .size = r->size};
	r->iov->key = (struct key){
		.is_ring = true,
		.has_ring_attr = true,
		.io_depth = depths[kind % 8],
		.for_write = kind & 8,
		.timeout_ms = kind & 16 ? 5 : 0,
		.flags = kind & 32 ? USRBIO_RING_HOLE_IS_ERROR : 0,
	};
	r->world = world_begin(fuzz_choice(&r->in, 256));
	return ring_new(world_backend(r->world), r->iov, &r->ring) == 0;
}

static void end(struct run *r)
{
	if (r->ring) {
		ring_close(r->ring);
		ring_abandon(r->ring);
		ring_put(r->ring);
	}
	HOLDS(r->iov->refs == 1);
	world_end(r->world, r->iov->key.for_write);
	free(r->iov);
	free(r->memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = {0};

	if (begin(&r, data, size))
		while (r.in.at < r.in.end)
			steps[fuzz_choice(&r.in, sizeof(steps) / sizeof(steps[0]))](&r);
	end(&r);
	return 0;
}

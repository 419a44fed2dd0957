/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of registrations: what the client composes, the daemon reads as it was meant; and what the daemon takes of
 * anything else is what the client would have composed for it.
 *
 * Covers: src/usrbio/key.c usrbiod/registry/key.c
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* Both ends have a key.h. */
#include "../../src/usrbio/key.h"
#include "../../usrbiod/registry/key.h"

static void take_id(struct fuzz_input *in, uint8_t id[16])
{
	for (int i = 0; i < 16; i++)
		id[i] = (uint8_t)fuzz_number(in, 1);
}

/* The daemon takes numbers of at most 63 bits, and no time before now. */
static void compose_buffer(struct fuzz_input *in)
{
	char key[USRBIO_KEY_SIZE];
	struct key parsed;
	uint8_t id[16];
	size_t block;

	take_id(in, id);
	block = fuzz_number(in, 8);
	usrbio_key_buffer(key, id, block);
	if (key_parse(key, true, &parsed)) {
		HOLDS(block > INT64_MAX);
		return;
	}
	HOLDS(memcmp(parsed.id, id, sizeof(id)) == 0 && !parsed.is_ring && !parsed.has_ring_attr);
	HOLDS(parsed.block_size == block);
}

static enum priority expected_priority(int priority)
{
	return priority < 0 ? PRIORITY_HIGH : priority > 0 ? PRIORITY_LOW : PRIORITY_NORMAL;
}

static void check_ring(const uint8_t id[16], const struct usrbio_ring_attr *attr, const struct key *parsed)
{
	HOLDS(memcmp(parsed->id, id, 16) == 0 && parsed->is_ring && parsed->has_ring_attr && !parsed->block_size);
	HOLDS(parsed->for_write == !attr->for_read && parsed->io_depth == attr->io_depth);
	HOLDS(parsed->priority == expected_priority(attr->priority));
	HOLDS(parsed->timeout_ms == attr->timeout_ms && parsed->flags == attr->flags);
}

static void compose_ring(struct fuzz_input *in)
{
	char key[USRBIO_KEY_SIZE];
	struct usrbio_ring_attr attr;
	struct key parsed;
	uint8_t id[16];

	take_id(in, id);
	attr.for_read = fuzz_choice(in, 2);
	attr.priority = (int)fuzz_choice(in, 3) - 1;
	attr.io_depth = (int)fuzz_number(in, 4);
	attr.timeout_ms = (int)fuzz_number(in, 4);
	attr.flags = fuzz_number(in, 8);
	usrbio_key_ring(key, id, &attr);
	if (key_parse(key, false, &parsed))
		HOLDS(attr.timeout_ms < 0 || attr.flags > INT64_MAX);
	else
		check_ring(id, &attr, &parsed);
	HOLDS((key_parse(key, true, &parsed) == 0) ==
	      (attr.timeout_ms >= 0 && attr.flags <= INT64_MAX && attr.io_depth >= 0));
}

static bool same(const struct key *a, const struct key *b)
{
	return memcmp(a->id, b->id, sizeof(a->id)) == 0 && a->block_size == b->block_size && a->is_ring == b->is_ring &&
	       a->for_write == b->for_write && a->io_depth == b->io_depth && a->timeout_ms == b->timeout_ms &&
	       a->flags == b->flags && a->priority == b->priority;
}

/* As the client would write it. */
static void compose_again(const struct key *key, char out[USRBIO_KEY_SIZE])
{
	static const int priorities[PRIORITIES] = {[PRIORITY_HIGH] = -1, [PRIORITY_NORMAL] = 0, [PRIORITY_LOW] = 1};
	const struct usrbio_ring_attr attr = {
		.for_read = !key->for_write,
		.priority = priorities[key->priority],
		.io_depth = key->io_depth,
		.timeout_ms = key->timeout_ms,
		.flags = key->flags,
	};

	if (key->is_ring)
		usrbio_key_ring(out, key->id, &attr);
	else
		usrbio_key_buffer(out, key->id, (size_t)key->block_size);
}

static void parse_text(struct fuzz_input *in)
{
	char *text = fuzz_line(in), again[USRBIO_KEY_SIZE];
	struct key key, back;
	uint8_t id[16];

	if (key_parse(text, false, &key) == 0) {
		HOLDS(usrbio_uuid_parse(text, id) && memcmp(id, key.id, sizeof(id)) == 0);
		HOLDS((key_parse(text, true, &back) == 0) == (key.io_depth >= 0));
		compose_again(&key, again);
		/* A ring's blocks mean nothing, and the client writes none. */
		if (key.is_ring)
			key.block_size = 0;
		HOLDS(key_parse(again, false, &back) == 0 && same(&key, &back));
	} else {
		HOLDS(key_parse(text, true, &back) != 0);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, data + size};

	/* Letters, so that seeds can be read. */
	switch (fuzz_number(&in, 1)) {
	case 'b':
		compose_buffer(&in);
		break;
	case 'r':
		compose_ring(&in);
		break;
	default:
		parse_text(&in);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "siphash.h"

#include <endian.h>
#include <string.h>

struct state {
	uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void mix(struct state *v)
{
	v->a += v->b;
	v->c += v->d;
	v->b = rotate(v->b, 13) ^ v->a;
	v->d = rotate(v->d, 16) ^ v->c;
	v->a = rotate(v->a, 32) + v->d;
	v->c += v->b;
	v->d = rotate(v->d, 21) ^ v->a;
	v->b = rotate(v->b, 17) ^ v->c;
	v->c = rotate(v->c, 32);
}

static void take(struct state *v, uint64_t word)
{
	v->d ^= word;
	mix(v);
	v->a ^= word;
}

uint64_t st_siphash(const uint64_t key[2], const void *bytes, size_t count)
{
	struct state v = {
		.a = key[0] ^ 0x736f6d6570736575u, /* "somepseudorandomlygeneratedbytes" */
		.b = key[1] ^ 0x646f72616e646f6du,
		.c = key[0] ^ 0x6c7967656e657261u,
		.d = key[1] ^ 0x7465646279746573u,
	};
	const uint8_t *at = bytes;
	uint64_t word, left = count;

	for (; left >= sizeof(word); at += sizeof(word), left -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		take(&v, le64toh(word));
	}
	word = 0;
	memcpy(&word, at, left);
	take(&v, le64toh(word) | (uint64_t)count << 56);
	v.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		mix(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}

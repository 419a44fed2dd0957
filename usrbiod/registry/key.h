/* SPDX-License-Identifier: Apache-2.0 */
/* The names of registrations under 3fs-virt/iovs: <uuid>[.b<n>][.r<d>|.w<d>][.p<x>][.t<ms>][.f<bits>] */
#ifndef USRBIOD_KEY_H
#define USRBIOD_KEY_H

#include <stdbool.h>
#include <stdint.h>

enum priority {
	PRIORITY_HIGH,
	PRIORITY_NORMAL,
	PRIORITY_LOW,
	PRIORITIES,
};

struct key {
	uint8_t id[16];
	uint64_t block_size; /* 0 = the whole buffer */
	bool is_ring;
	bool has_ring_attr; /* any of .p, .t, .f */
	bool for_write;
	int io_depth;
	int timeout_ms;
	uint64_t flags;
	enum priority priority;
};

/* 0, or -EINVAL for anything that is not exactly the grammar. `strict`: nor a negative depth, which 3FS takes today and
 * will refuse. */
int key_parse(const char *name, bool strict, struct key *out);

#endif

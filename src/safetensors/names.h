/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, each known once, numbered from 0 in the order in which they came: a hash table.
 *
 * The hash is keyed with a secret of the process (SipHash), so that no file can be made whose names all collide.
 */
#ifndef FST3FS_SAFETENSORS_NAMES_H
#define FST3FS_SAFETENSORS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

struct st_name {
	const char *s; /* NUL-terminated */
	size_t bytes;
};

struct st_name_slot {
	uint32_t hash;
	uint32_t number; /* from 1; 0: the slot is free */
};

/* All zero is an empty one. */
struct st_names {
	struct st_name *items; /* by number */
	size_t count, items_room;
	struct st_name_slot *slots; /* a power of two of them, at least twice as many as names */
	size_t slots_room;
	uint64_t key[2]; /* of the hash; set with the first slots */
};

/* The number of a name in `number`. 1: it is new, and a copy of it is in `arena` now; 0: it was there; or -ENOMEM. */
int st_names_add(struct st_names *names, struct st_arena *arena, const char *s, size_t bytes, size_t *number);

/* The number of a name, or SIZE_MAX. */
size_t st_names_find(const struct st_names *names, const char *s, size_t bytes);

/* The names themselves belong to the arena. */
void st_names_free(struct st_names *names);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back all at once: names and shapes of a hundred thousand tensors in a few allocations. */
#ifndef FST3FS_SAFETENSORS_ARENA_H
#define FST3FS_SAFETENSORS_ARENA_H

#include <stddef.h>

struct st_arena_chunk;

/* All zero is an empty arena. */
struct st_arena {
	struct st_arena_chunk *chunks;
	char *at, *end; /* what is free in the newest chunk */
	size_t next;	/* bytes of the chunk to come */
};

/* `bytes` bytes aligned for uint64_t, or NULL without memory. */
void *st_arena_alloc(struct st_arena *arena, size_t bytes);

/* A copy with a NUL behind it, or NULL without memory. */
char *st_arena_copy(struct st_arena *arena, const char *s, size_t bytes);

void st_arena_free(struct st_arena *arena);

/* Besides, for arrays that grow: `items`, of `*room` items of `item_bytes` bytes of which `count` are in use, with room
 * for one more. NULL without memory; then the array is as it was. Undone by: free(). */
void *st_array_grow(void *items, size_t count, size_t *room, size_t item_bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK ((size_t)16 << 10)
#define LARGEST_CHUNK ((size_t)4 << 20) /* what is wasted at most is a part of one */

struct st_arena_chunk {
	struct st_arena_chunk *older;
	uint64_t bytes[];
};

static int grow(struct st_arena *arena, size_t bytes)
{
	struct st_arena_chunk *chunk;

	if (arena->next == 0)
		arena->next = FIRST_CHUNK;
	if (bytes < arena->next)
		bytes = arena->next;
	chunk = malloc(sizeof(*chunk) + bytes);
	if (!chunk)
		return -1;
	chunk->older = arena->chunks;
	arena->chunks = chunk;
	arena->at = (char *)chunk->bytes;
	arena->end = arena->at + bytes;
	if (arena->next < LARGEST_CHUNK)
		arena->next *= 2;
	return 0;
}

void *st_arena_alloc(struct st_arena *arena, size_t bytes)
{
	const size_t align = sizeof(uint64_t);
	void *out;

	bytes = bytes ? (bytes + align - 1) / align * align : align;
	if (bytes > (size_t)(arena->end - arena->at) && grow(arena, bytes) < 0)
		return NULL;
	out = arena->at;
	arena->at += bytes;
	return out;
}

char *st_arena_copy(struct st_arena *arena, const char *s, size_t bytes)
{
	char *copy = st_arena_alloc(arena, bytes + 1);

	if (copy) {
		memcpy(copy, s, bytes);
		copy[bytes] = '\0';
	}
	return copy;
}

void st_arena_free(struct st_arena *arena)
{
	while (arena->chunks) {
		struct st_arena_chunk *older = arena->chunks->older;

		free(arena->chunks);
		arena->chunks = older;
	}
	*arena = (struct st_arena){0};
}

void *st_array_grow(void *items, size_t count, size_t *room, size_t item_bytes)
{
	size_t more = *room ? *room * 2 : 16;

	if (count < *room)
		return items;
	items = reallocarray(items, more, item_bytes);
	if (items)
		*room = more;
	return items;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "siphash.h"

static uint32_t hash(const struct st_names *names, const char *s, size_t bytes)
{
	return (uint32_t)st_siphash(names->key, s, bytes);
}

/* The slot of a name: the one it is in, or the free one that it would go into. There is always a free one. */
static struct st_name_slot *look_up(const struct st_names *names, uint32_t h, const char *s, size_t bytes)
{
	for (size_t i = h;; i++) {
		struct st_name_slot *slot = &names->slots[i & (names->slots_room - 1)];
		const struct st_name *name;

		if (slot->number == 0)
			return slot;
		name = &names->items[slot->number - 1];
		if (slot->hash == h && name->bytes == bytes && memcmp(name->s, s, bytes) == 0)
			return slot;
	}
}

/* Half of the slots stay free. */
static int grow_slots(struct st_names *names)
{
	const size_t room = names->slots_room ? names->slots_room * 2 : 64;
	struct st_name_slot *slots;

	if (names->count * 2 < names->slots_room)
		return 0;
	/* What the kernel gave this process for such ends. */
	memcpy(names->key, (const void *)getauxval(AT_RANDOM), sizeof(names->key));
	slots = calloc(room, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < names->slots_room; i++) {
		size_t to = names->slots[i].hash;

		if (names->slots[i].number == 0)
			continue;
		while (slots[to & (room - 1)].number != 0)
			to++;
		slots[to & (room - 1)] = names->slots[i];
	}
	free(names->slots);
	names->slots = slots;
	names->slots_room = room;
	return 0;
}

int st_names_add(struct st_names *names, struct st_arena *arena, const char *s, size_t bytes, size_t *number)
{
	struct st_name_slot *slot;
	struct st_name *items;
	uint32_t h;

	if (grow_slots(names) < 0)
		return -ENOMEM;
	h = hash(names, s, bytes);
	slot = look_up(names, h, s, bytes);
	if (slot->number != 0) {
		*number = slot->number - 1;
		return 0;
	}
	if (names->count == UINT32_MAX)
		return -ENOMEM;
	items = st_array_grow(names->items, names->count, &names->items_room, sizeof(*items));
	if (!items)
		return -ENOMEM;
	names->items = items;
	items += names->count;
	*items = (struct st_name){st_arena_copy(arena, s, bytes), bytes};
	if (!items->s)
		return -ENOMEM;
	*number = names->count++;
	*slot = (struct st_name_slot){.hash = h, .number = (uint32_t)names->count};
	return 1;
}

size_t st_names_find(const struct st_names *names, const char *s, size_t bytes)
{
	const struct st_name_slot *slot;

	if (names->count == 0)
		return SIZE_MAX;
	slot = look_up(names, hash(names, s, bytes), s, bytes);
	return slot->number ? slot->number - 1 : SIZE_MAX;
}

void st_names_free(struct st_names *names)
{
	free(names->items);
	free(names->slots);
	*names = (struct st_names){0};
}

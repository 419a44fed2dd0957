/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that make up a table share. */
#ifndef FST3FS_SAFETENSORS_TABLE_I_H
#define FST3FS_SAFETENSORS_TABLE_I_H

#include "arena.h"
#include "json.h"
#include "names.h"
#include "table.h"

struct st_entry {
	struct safetensors_tensor tensor; /* begin and end count from where data begins until st_layout_check */
	uint64_t offsets_position;	  /* byte of the file, for errors */
};

/* An entry, and what it is sorted by as a rule. */
struct st_place {
	uint64_t begin;
	struct st_entry *entry;
};

struct safetensors_table {
	struct st_arena arena;	  /* names, shapes, metadata */
	struct st_names names;	  /* of the entries, with the same numbers */
	struct st_entry *entries; /* in the order of the header */
	size_t count, room;
	struct st_place *order; /* the entries in the order of their bytes; NULL: they stand in it already */
	struct safetensors_metadatum *metadata;
	size_t metadata_count, metadata_room;
	bool metadata_seen, has_metadata; /* a null is seen, and is none */
};

/* Dimensions as they are read, before it is known how many there are. */
struct st_dims {
	uint64_t *items; /* owned by the caller */
	size_t count, room;
};

/* The functions below return 0, -EINVAL or -ENOMEM. */

/* One tensor, which has its name already: reads the object that describes it, and checks what can be seen from it
 * alone. */
int st_tensor_read(struct st_json *r, struct st_dims *dims, struct st_entry *out);

/* Reads the value of __metadata__, whose key stands at `position`. */
int st_metadata_read(struct st_json *r, struct safetensors_table *table, uint64_t position);

/* All tensors: sorts them, and checks that they fill the `data_bytes` bytes of the file that begin at `data_begin`. */
int st_layout_check(struct st_json *r, struct safetensors_table *table, uint64_t data_begin, uint64_t data_bytes);

/* The i-th entry in the order of bytes, once that is known. */
struct st_entry *st_layout_at(const struct safetensors_table *table, size_t i);

#endif

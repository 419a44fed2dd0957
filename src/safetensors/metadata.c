/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"
#include "table_i.h"

static const char wanted[] = "it must be an object of strings";

static int read_pair(struct st_json *r, struct safetensors_table *table, struct st_names *keys)
{
	struct safetensors_metadatum *m =
		st_array_grow(table->metadata, table->metadata_count, &table->metadata_room, sizeof(*m));
	struct st_text key, value;
	struct st_quoted quoted;
	size_t number;
	int rc;

	if (!m)
		return st_json_no_memory(r);
	table->metadata = m;
	rc = st_json_key(r, &key);
	if (rc < 0)
		return rc;
	rc = st_names_add(keys, r->arena, key.s, key.bytes, &number);
	if (rc < 0)
		return st_json_no_memory(r);
	if (rc == 0)
		return st_json_fault(r, SAFETENSORS_METADATA_TWICE, key.position, "key %s is there twice",
				     st_quote(&quoted, key.s, key.bytes));
	rc = st_json_string(r, SAFETENSORS_METADATA_TYPE, wanted, &value);
	if (rc < 0)
		return rc;
	m[table->metadata_count++] = (struct safetensors_metadatum){
		.key = keys->items[number].s,
		.value = st_arena_copy(r->arena, value.s, value.bytes),
		.key_bytes = key.bytes,
		.value_bytes = value.bytes,
	};
	return m[number].value ? 0 : st_json_no_memory(r);
}

static int read_pairs(struct st_json *r, struct safetensors_table *table)
{
	struct st_names keys = {0};
	int rc;

	if (st_json_null(r)) /* as good as none for safetensors */
		return 0;
	table->has_metadata = true;
	rc = st_json_enter(r, '{', SAFETENSORS_METADATA_TYPE, wanted);
	while (rc == 0 && (rc = st_json_more(r, '}')) == 1)
		rc = read_pair(r, table, &keys);
	st_names_free(&keys);
	return rc;
}

int st_metadata_read(struct st_json *r, struct safetensors_table *table, uint64_t position)
{
	const char *document = r->document;
	int rc;

	r->document = "__metadata__";
	if (table->metadata_seen)
		return st_json_fault(r, SAFETENSORS_METADATA_TWICE, position, "it is there twice");
	table->metadata_seen = true;
	rc = read_pairs(r, table);
	r->document = document;
	return rc;
}

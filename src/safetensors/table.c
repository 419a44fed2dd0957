/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "header.h"
#include "table_i.h"
#include "tensor_name.h"

/* ------------------------------------------------------------------ parsing */

/* One member of the header's object. */
static int read_member(struct st_json *r, struct safetensors_table *table, struct st_dims *dims)
{
	struct st_entry *entry = st_array_grow(table->entries, table->count, &table->room, sizeof(*entry));
	struct st_text key;
	int rc;

	if (!entry)
		return st_json_no_memory(r);
	table->entries = entry;
	entry += table->count;
	rc = st_json_key(r, &key);
	if (rc < 0)
		return rc;
	if (st_text_is(&key, "__metadata__"))
		return st_metadata_read(r, table, key.position);
	rc = st_tensor_name_add(r, &table->names, &key, &entry->tensor.name);
	if (rc == 0)
		rc = st_tensor_read(r, dims, entry);
	if (rc < 0)
		return rc;
	r->subject.s = NULL;
	table->count++;
	return 0;
}

static int read_header(struct st_json *r, struct safetensors_table *table)
{
	struct st_dims dims = {0};
	int rc = st_json_enter(r, '{', SAFETENSORS_HEADER_START, "it must be an object");

	while (rc == 0 && (rc = st_json_more(r, '}')) == 1)
		rc = read_member(r, table, &dims);
	free(dims.items);
	return rc == 0 ? st_json_finish(r) : rc;
}

/* Whole and UTF-8, as far as can be seen without reading the JSON. */
static int check_frame(const char *json, size_t bytes, uint64_t file_size, struct fst3fs_error *err)
{
	if (file_size < SAFETENSORS_PREFIX_BYTES || bytes > file_size - SAFETENSORS_PREFIX_BYTES)
		return st_fault(err, SAFETENSORS_HEADER_BEYOND_FILE, 0, "not a safetensors file, or truncated",
				"header length %zu goes beyond the file's %" PRIu64 " bytes", bytes, file_size);
	return safetensors_check_json((const uint8_t *)json, bytes, err);
}

int safetensors_table_parse(const char *json, size_t bytes, uint64_t file_size, struct safetensors_table **out,
			    struct fst3fs_error *err)
{
	const uint64_t data_begin = SAFETENSORS_PREFIX_BYTES + (uint64_t)bytes;
	struct safetensors_table *table;
	struct st_json r = {
		.begin = json,
		.at = json,
		.end = json + bytes,
		.base = SAFETENSORS_PREFIX_BYTES,
		.document = "header",
		.err = err,
	};
	int rc;

	rc = check_frame(json, bytes, file_size, err);
	if (rc < 0)
		return rc;
	table = calloc(1, sizeof(*table));
	if (!table)
		return st_json_no_memory(&r);
	r.arena = &table->arena;
	rc = read_header(&r, table);
	if (rc == 0)
		rc = st_layout_check(&r, table, data_begin, file_size - data_begin);
	if (rc < 0) {
		safetensors_table_free(table);
		return rc;
	}
	*out = table;
	return 0;
}

void safetensors_table_free(struct safetensors_table *table)
{
	if (!table)
		return;
	st_names_free(&table->names);
	free(table->metadata);
	free(table->order);
	free(table->entries);
	st_arena_free(&table->arena);
	free(table);
}

/* ------------------------------------------------------------------ looking into one */

size_t safetensors_table_count(const struct safetensors_table *table)
{
	return table->count;
}

const struct safetensors_tensor *safetensors_table_at(const struct safetensors_table *table, size_t i)
{
	return &st_layout_at(table, i)->tensor;
}

const struct safetensors_tensor *safetensors_table_find(const struct safetensors_table *table, const char *name)
{
	size_t i = st_names_find(&table->names, name, strlen(name));

	return i == SIZE_MAX ? NULL : &table->entries[i].tensor;
}

bool safetensors_has_metadata(const struct safetensors_table *table)
{
	return table->has_metadata;
}

size_t safetensors_metadata_count(const struct safetensors_table *table)
{
	return table->metadata_count;
}

const struct safetensors_metadatum *safetensors_metadata_at(const struct safetensors_table *table, size_t i)
{
	return &table->metadata[i];
}

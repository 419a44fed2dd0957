/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "table_i.h"

/* ------------------------------------------------------------------ order */

static int compare(const struct safetensors_tensor *a, const struct safetensors_tensor *b)
{
	if (a->begin != b->begin)
		return a->begin < b->begin ? -1 : 1;
	if (a->end != b->end)
		return a->end < b->end ? -1 : 1;
	return strcmp(a->name, b->name);
}

static int compare_places(const void *left, const void *right)
{
	const struct st_place *a = left, *b = right;

	if (a->begin != b->begin)
		return a->begin < b->begin ? -1 : 1;
	return compare(&a->entry->tensor, &b->entry->tensor);
}

static bool is_sorted(const struct safetensors_table *table)
{
	size_t i = 1;

	while (i < table->count && compare(&table->entries[i - 1].tensor, &table->entries[i].tensor) < 0)
		i++;
	return i >= table->count;
}

/* Most writers describe tensors in the order of their bytes, and there is nothing to do. */
static int sort(struct st_json *r, struct safetensors_table *table)
{
	if (is_sorted(table))
		return 0;
	table->order = malloc(table->count * sizeof(*table->order));
	if (!table->order)
		return st_json_no_memory(r);
	for (size_t i = 0; i < table->count; i++)
		table->order[i] = (struct st_place){table->entries[i].tensor.begin, &table->entries[i]};
	qsort(table->order, table->count, sizeof(*table->order), compare_places);
	return 0;
}

struct st_entry *st_layout_at(const struct safetensors_table *table, size_t i)
{
	return table->order ? table->order[i].entry : &table->entries[i];
}

/* ------------------------------------------------------------------ bytes */

/* `at` is where the tensor before this one ends. */
static int check_place(struct st_json *r, const struct st_entry *entry, uint64_t at, uint64_t data_bytes)
{
	const struct safetensors_tensor *t = &entry->tensor;
	const uint64_t position = entry->offsets_position;

	if (t->begin == at && t->end <= data_bytes)
		return 0;
	r->subject = (struct st_text){.s = t->name, .bytes = strlen(t->name)};
	if (t->begin > at)
		return st_json_fault(r, SAFETENSORS_DATA_GAP, position,
				     "\"data_offsets\" begin at %" PRIu64 ", but the data before ends at %" PRIu64,
				     t->begin, at);
	if (t->begin < at)
		return st_json_fault(r, SAFETENSORS_DATA_OVERLAP, position,
				     "\"data_offsets\" begin at %" PRIu64
				     ", inside the data before, which ends at %" PRIu64,
				     t->begin, at);
	return st_json_fault(r, SAFETENSORS_DATA_BEYOND_FILE, position,
			     "\"data_offsets\" end at %" PRIu64 ", but the file has %" PRIu64
			     " bytes of data: it is cut short, or its header is wrong",
			     t->end, data_bytes);
}

int st_layout_check(struct st_json *r, struct safetensors_table *table, uint64_t data_begin, uint64_t data_bytes)
{
	uint64_t at = 0;
	int rc = sort(r, table);

	for (size_t i = 0; rc == 0 && i < table->count; i++) {
		struct st_entry *entry = st_layout_at(table, i);

		rc = check_place(r, entry, at, data_bytes);
		at = entry->tensor.end;
		entry->tensor.begin += data_begin;
		entry->tensor.end += data_begin;
	}
	if (rc == 0 && at < data_bytes)
		rc = st_json_fault(r, SAFETENSORS_DATA_LEFT_OVER, data_begin + at,
				   "the file has %" PRIu64 " bytes of data more than its tensors", data_bytes - at);
	return rc;
}

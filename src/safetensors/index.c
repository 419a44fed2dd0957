/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "json.h"
#include "names.h"
#include "tensor_name.h"
#include "utf8.h"

static const char map_wanted[] = "\"weight_map\" must be an object of strings";

struct safetensors_index {
	struct st_arena arena; /* names */
	struct st_names names; /* of the tensors, with the numbers of their placements */
	struct st_names files;
	struct safetensors_placement *placements;
	size_t count, room;
};

/* ------------------------------------------------------------------ reading */

/* Does a path lead to a place inside the directory that it is relative to? Links are not looked at: it is a name. */
static bool leads_inside(const char *at, size_t bytes)
{
	const char *end = at + bytes;

	if (bytes == 0 || *at == '/' || memchr(at, '\0', bytes))
		return false;
	while (at < end) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		const char *stop = slash ? slash : end;

		if (stop - at == 2 && at[0] == '.' && at[1] == '.')
			return false;
		at = stop + 1;
	}
	return true;
}

static int read_file(struct st_json *r, struct safetensors_index *index, struct safetensors_placement *placement)
{
	struct st_quoted quoted;
	struct st_text file;
	int rc = st_json_string(r, SAFETENSORS_INDEX_MAP_TYPE, map_wanted, &file);

	if (rc < 0)
		return rc;
	if (!leads_inside(file.s, file.bytes))
		return st_json_fault(r, SAFETENSORS_INDEX_FILE_NAME, file.position,
				     "%s is not the name of a file in the index's directory",
				     st_quote(&quoted, file.s, file.bytes));
	if (st_names_add(&index->files, &index->arena, file.s, file.bytes, &placement->file_index) < 0)
		return st_json_no_memory(r);
	placement->file = index->files.items[placement->file_index].s;
	return 0;
}

static int read_placement(struct st_json *r, struct safetensors_index *index)
{
	struct safetensors_placement *p = st_array_grow(index->placements, index->count, &index->room, sizeof(*p));
	struct st_text key;
	int rc;

	if (!p)
		return st_json_no_memory(r);
	index->placements = p;
	p += index->count;
	rc = st_json_key(r, &key);
	if (rc == 0)
		rc = st_tensor_name_add(r, &index->names, &key, &p->name);
	if (rc == 0)
		rc = read_file(r, index, p);
	if (rc < 0)
		return rc;
	p->position = key.position;
	r->subject.s = NULL;
	index->count++;
	return 0;
}

static int read_map(struct st_json *r, struct safetensors_index *index)
{
	int rc = st_json_enter(r, '{', SAFETENSORS_INDEX_MAP_TYPE, map_wanted);

	while (rc == 0 && (rc = st_json_more(r, '}')) == 1)
		rc = read_placement(r, index);
	return rc;
}

static int read_index(struct st_json *r, struct safetensors_index *index)
{
	bool seen = false;
	int rc = st_json_enter(r, '{', SAFETENSORS_INDEX_TYPE, "it must be an object");

	while (rc == 0 && (rc = st_json_more(r, '}')) == 1) {
		struct st_text key;

		rc = st_json_key(r, &key);
		if (rc < 0)
			return rc;
		if (!st_text_is(&key, "weight_map")) {
			rc = st_json_skip(r);
			continue;
		}
		if (seen)
			return st_json_fault(r, SAFETENSORS_INDEX_MAP_TWICE, key.position,
					     "\"weight_map\" is there twice");
		seen = true;
		rc = read_map(r, index);
	}
	if (rc == 0)
		rc = st_json_finish(r);
	if (rc == 0 && !seen)
		return st_json_fault(r, SAFETENSORS_INDEX_MAP_MISSING, 0, "\"weight_map\" is missing");
	return rc;
}

/* ------------------------------------------------------------------ the interface */

static int fill(struct st_json *r, struct safetensors_index *index)
{
	size_t bytes = (size_t)(r->end - r->begin), valid = st_utf8_valid(r->begin, bytes);

	if (valid < bytes)
		return st_json_fault(r, SAFETENSORS_JSON_UTF8, valid, "it is not UTF-8");
	return read_index(r, index);
}

int safetensors_index_parse(const char *json, size_t bytes, struct safetensors_index **out, struct fst3fs_error *err)
{
	struct safetensors_index *index = calloc(1, sizeof(*index));
	struct st_json r = {.begin = json, .at = json, .end = json + bytes, .document = "index", .err = err};
	int rc;

	if (!index)
		return st_json_no_memory(&r);
	r.arena = &index->arena;
	rc = fill(&r, index);
	if (rc < 0) {
		safetensors_index_free(index);
		return rc;
	}
	*out = index;
	return 0;
}

void safetensors_index_free(struct safetensors_index *index)
{
	if (!index)
		return;
	st_names_free(&index->names);
	st_names_free(&index->files);
	free(index->placements);
	st_arena_free(&index->arena);
	free(index);
}

size_t safetensors_index_count(const struct safetensors_index *index)
{
	return index->count;
}

const struct safetensors_placement *safetensors_index_at(const struct safetensors_index *index, size_t i)
{
	return &index->placements[i];
}

size_t safetensors_index_file_count(const struct safetensors_index *index)
{
	return index->files.count;
}

const char *safetensors_index_file_at(const struct safetensors_index *index, size_t i)
{
	return index->files.items[i].s;
}

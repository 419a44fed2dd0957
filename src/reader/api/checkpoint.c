/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of many files as one: headers read, checked, and looked up by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_i.h"
#include "index.h"
#include "reader_i.h"

/* ------------------------------------------------------------------ life */

void fst3fs_checkpoint_free(struct fst3fs_checkpoint *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->file_count; i++) {
		if (c->tables)
			safetensors_table_free(c->tables[i]);
		free(c->paths[i]);
	}
	free(c->tables);
	free(c->inodes);
	free(c->paths);
	free(c->tensors);
	free(c->by_name);
	free(c);
}

static int no_memory(struct fst3fs_error *err)
{
	return fst3fs_err_set(err, -ENOMEM, "no memory for a checkpoint");
}

/* ------------------------------------------------------------------ headers */

static int read_headers(struct fst3fs_reader *r, struct fst3fs_checkpoint *c, struct fst3fs_error *err)
{
	struct fst3fs_header *headers = calloc(c->file_count + 1, sizeof(*headers));
	int rc;

	c->tables = calloc(c->file_count + 1, sizeof(struct safetensors_table *));
	c->inodes = calloc(c->file_count + 1, sizeof(*c->inodes));
	if (!headers || !c->tables || !c->inodes) {
		free(headers);
		return no_memory(err);
	}
	rc = fst3fs_read_tables(r, (const char *const *)c->paths, c->file_count, headers, c->tables, err);
	for (size_t i = 0; i < c->file_count; i++)
		c->inodes[i] = headers[i].inode;
	free(headers);
	return rc;
}

/* ------------------------------------------------------------------ all tensors together */

static int compare_names(const void *a, const void *b, void *ctx)
{
	const struct fst3fs_checkpoint *c = ctx;

	return strcmp(c->tensors[*(const size_t *)a].tensor->name, c->tensors[*(const size_t *)b].tensor->name);
}

static int check_twice(const struct fst3fs_checkpoint *c, struct fst3fs_error *err)
{
	for (size_t i = 1; i < c->count; i++) {
		const struct fst3fs_placed *a = &c->tensors[c->by_name[i - 1]], *b = &c->tensors[c->by_name[i]];
		int rc;

		if (strcmp(a->tensor->name, b->tensor->name) != 0)
			continue;
		rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "tensor %.200s is in %.400s as well",
					 a->tensor->name, c->paths[a->file < b->file ? a->file : b->file]);
		fst3fs_err_set_path(err, c->paths[a->file < b->file ? b->file : a->file]);
		return rc;
	}
	return 0;
}

static int gather(struct fst3fs_checkpoint *c, struct fst3fs_error *err)
{
	size_t n = 0;

	for (size_t i = 0; i < c->file_count; i++)
		c->count += safetensors_table_count(c->tables[i]);
	c->tensors = calloc(c->count + 1, sizeof(*c->tensors));
	c->by_name = calloc(c->count + 1, sizeof(*c->by_name));
	if (!c->tensors || !c->by_name)
		return no_memory(err);
	for (size_t i = 0; i < c->file_count; i++) {
		for (size_t k = 0; k < safetensors_table_count(c->tables[i]); k++) {
			c->by_name[n] = n;
			c->tensors[n++] = (struct fst3fs_placed){safetensors_table_at(c->tables[i], k), i};
		}
	}
	qsort_r(c->by_name, c->count, sizeof(*c->by_name), compare_names, c);
	return check_twice(c, err);
}

/* Every tensor of the index is in the file that it names. */
static int check_index(const struct fst3fs_checkpoint *c, const struct safetensors_index *index, const char *path,
		       struct fst3fs_error *err)
{
	for (size_t i = 0; i < safetensors_index_count(index); i++) {
		const struct safetensors_placement *p = safetensors_index_at(index, i);
		int rc;

		if (safetensors_table_find(c->tables[p->file_index], p->name))
			continue;
		rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					 "names tensor %.200s in %.400s, which has none", p->name, p->file);
		fst3fs_err_set_path(err, path);
		if (err)
			err->offset = (int64_t)p->position;
		return rc;
	}
	return 0;
}

int fst3fs_checkpoint_open(struct fst3fs_reader *r, const char *const *paths, size_t n, struct fst3fs_checkpoint **out,
			   struct fst3fs_error *err)
{
	struct fst3fs_checkpoint *c = calloc(1, sizeof(*c));
	struct fst3fs_found found = {0};
	int rc;

	fst3fs_err_reset(err);
	rc = c ? fst3fs_reader_check(r, err) : no_memory(err);
	if (rc == 0)
		rc = fst3fs_find_files(r, paths, n, &found, err);
	if (rc == 0) {
		c->paths = found.paths;
		c->file_count = found.count;
		found.paths = NULL;
		found.count = 0;
		rc = read_headers(r, c, err);
	}
	if (rc == 0)
		rc = gather(c, err);
	if (rc == 0 && found.index)
		rc = check_index(c, found.index, found.index_path, err);
	fst3fs_found_fini(&found);
	if (rc < 0)
		fst3fs_checkpoint_free(c);
	else
		*out = c;
	return rc;
}

/* ------------------------------------------------------------------ looking things up */

size_t fst3fs_checkpoint_count(const struct fst3fs_checkpoint *c)
{
	return c->count;
}

int fst3fs_checkpoint_tensor(const struct fst3fs_checkpoint *c, size_t i, struct fst3fs_tensor *out)
{
	const struct safetensors_tensor *t;

	if (i >= c->count)
		return -EINVAL;
	t = c->tensors[i].tensor;
	*out = (struct fst3fs_tensor){
		.name = t->name,
		.dtype = safetensors_dtype_name(t->dtype),
		.bits = safetensors_dtype_bits(t->dtype),
		.rank = t->rank,
		.shape = t->shape,
		.file = c->tensors[i].file,
		.offset = t->begin,
		.length = t->end - t->begin,
	};
	return 0;
}

int64_t fst3fs_checkpoint_find(const struct fst3fs_checkpoint *c, const char *name)
{
	size_t low = 0, high = c->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(c->tensors[c->by_name[mid]].tensor->name, name);

		if (order == 0)
			return (int64_t)c->by_name[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -ENOENT;
}

size_t fst3fs_checkpoint_file_count(const struct fst3fs_checkpoint *c)
{
	return c->file_count;
}

const char *fst3fs_checkpoint_file(const struct fst3fs_checkpoint *c, size_t i)
{
	return i < c->file_count ? c->paths[i] : NULL;
}

int fst3fs_checkpoint_metadata(const struct fst3fs_checkpoint *c, size_t file, size_t i, const char **key,
			       size_t *key_bytes, const char **value, size_t *value_bytes)
{
	const struct safetensors_metadatum *m;

	if (file >= c->file_count || i >= safetensors_metadata_count(c->tables[file]))
		return -ENOENT;
	m = safetensors_metadata_at(c->tables[file], i);
	*key = m->key;
	*key_bytes = m->key_bytes;
	*value = m->value;
	*value_bytes = m->value_bytes;
	return 0;
}

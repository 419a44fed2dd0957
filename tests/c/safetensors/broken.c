/* SPDX-License-Identifier: Apache-2.0 */
#include "broken.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"

/* A copy without a NUL behind it, for tools that watch memory to see a byte read too many. */
static char *exactly(const char *json, size_t bytes)
{
	char *copy = malloc(bytes ? bytes : 1);

	assert_non_null(copy);
	memcpy(copy, json, bytes);
	return copy;
}

struct safetensors_table *table_of(const char *json, uint64_t data)
{
	const size_t bytes = strlen(json);
	struct safetensors_table *table = NULL;
	char *copy = exactly(json, bytes);
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	if (safetensors_table_parse(copy, bytes, SAFETENSORS_PREFIX_BYTES + bytes + data, &table, &err) < 0)
		fail_msg("%s: %s", json, err.text);
	free(copy); /* the table has nothing of it */
	return table;
}

void fine(const char *json, uint64_t data)
{
	safetensors_table_free(table_of(json, data));
}

static void check_error(const struct fst3fs_error *err, enum safetensors_rule rule, uint64_t offset, const char *names)
{
	if (err->rule != (int)rule || err->offset != (int64_t)offset)
		fail_msg("expected rule %s at %d, got: %s", safetensors_rule_name(rule), (int)offset, err->text);
	assert_int_equal(err->code, -EINVAL);
	assert_int_equal(err->kind, FST3FS_ERROR_VALUE);
	if (!strstr(err->text, safetensors_rule_name(rule)) || (names && !strstr(err->text, names)))
		fail_msg("%s or %s is missing in: %s", safetensors_rule_name(rule), names ? names : "", err->text);
	assert_null(strchr(err->text, '\n'));
}

static size_t find(const char *json, const char *at)
{
	const char *found = *at ? strstr(json, at) : json + strlen(json);

	assert_non_null(found);
	return (size_t)(found - json);
}

static void check_table(enum safetensors_rule rule, const char *json, size_t bytes, uint64_t file_size, uint64_t offset,
			const char *names)
{
	struct safetensors_table *table = NULL;
	char *copy = exactly(json, bytes);
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	assert_int_equal(safetensors_table_parse(copy, bytes, file_size, &table, &err), -EINVAL);
	check_error(&err, rule, offset, names);
	assert_int_equal(safetensors_table_parse(copy, bytes, file_size, &table, NULL), -EINVAL);
	assert_null(table);
	free(copy);
}

void breaks(enum safetensors_rule rule, const char *json, uint64_t data, const char *at, const char *names)
{
	const size_t bytes = strlen(json);

	check_table(rule, json, bytes, SAFETENSORS_PREFIX_BYTES + bytes + data,
		    SAFETENSORS_PREFIX_BYTES + find(json, at), names);
}

void bytes_break(enum safetensors_rule rule, const char *json, size_t bytes, uint64_t file_size, uint64_t offset)
{
	check_table(rule, json, bytes, file_size, offset, NULL);
}

struct safetensors_index *index_of(const char *json)
{
	struct safetensors_index *index = NULL;
	char *copy = exactly(json, strlen(json));
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	if (safetensors_index_parse(copy, strlen(json), &index, &err) < 0)
		fail_msg("%s: %s", json, err.text);
	free(copy);
	return index;
}

void index_breaks(enum safetensors_rule rule, const char *json, const char *at, const char *names)
{
	struct safetensors_index *index = NULL;
	char *copy = exactly(json, strlen(json));
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	assert_int_equal(safetensors_index_parse(copy, strlen(json), &index, &err), -EINVAL);
	check_error(&err, rule, find(json, at), names);
	assert_int_equal(safetensors_index_parse(copy, strlen(json), &index, NULL), -EINVAL);
	assert_null(index);
	free(copy);
}

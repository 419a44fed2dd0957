/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without memory, at every place where it is asked for: -ENOMEM, and nothing is left.
 *
 * Linked with --wrap, so that these are the library's own calls and no others.
 */
#include "broken.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_reallocarray(void *items, size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_reallocarray(void *items, size_t count, size_t bytes);

static int left = -1; /* allocations until one fails; below 0: none does */

static bool fails(void)
{
	return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_reallocarray(void *items, size_t count, size_t bytes)
{
	return fails() ? NULL : __real_reallocarray(items, count, bytes);
}

/* Every allocation fails once; how many there are. */
static int fail_each(int (*parse)(struct fst3fs_error *err))
{
	for (int i = 0;; i++) {
		struct fst3fs_error err;
		int rc;

		fst3fs_err_reset(&err);
		left = i;
		rc = parse(&err);
		left = -1;
		if (rc == 0)
			return i;
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(err.code, -ENOMEM);
		assert_non_null(strstr(err.text, "no memory"));
	}
}

static int parse_table(struct fst3fs_error *err)
{
	static const char json[] = "{\"__metadata__\":{\"k\\n\":\"v\\n\"}," TENSOR(
		"a\\n", "U8", "[1]", "[1,2]") "," TENSOR("b", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]") "}";
	struct safetensors_table *table;
	int rc = safetensors_table_parse(json, sizeof(json) - 1, 8 + sizeof(json) - 1 + 2, &table, err);

	if (rc == 0)
		safetensors_table_free(table);
	return rc;
}

static int parse_index(struct fst3fs_error *err)
{
	static const char json[] = "{\"x\":\"\\n\",\"weight_map\":{\"a\":\"f\\n\",\"b\":\"g\"}}";
	struct safetensors_index *index;
	int rc = safetensors_index_parse(json, sizeof(json) - 1, &index, err);

	if (rc == 0)
		safetensors_index_free(index);
	return rc;
}

static void a_table_without_memory(void **state)
{
	(void)state;
	assert_true(fail_each(parse_table) >= 8);
}

static void an_index_without_memory(void **state)
{
	(void)state;
	assert_true(fail_each(parse_index) >= 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_without_memory),
		cmocka_unit_test(an_index_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

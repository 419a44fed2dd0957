/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of an index: a test for each; and what a valid one says. */
#include "broken.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP(pairs) "{\"weight_map\":{" pairs "}}"

static void index_type(void **state)
{
	(void)state;
	index_breaks(SAFETENSORS_INDEX_TYPE, " []", "[", "an array");
	index_breaks(SAFETENSORS_INDEX_TYPE, "\"weight_map\"", "\"", NULL);
}

static void index_map_missing(void **state)
{
	(void)state;
	index_breaks(SAFETENSORS_INDEX_MAP_MISSING, "{}", "{", "weight_map");
	index_breaks(SAFETENSORS_INDEX_MAP_MISSING, "{\"metadata\":{\"weight_map\":{}}}", "{", NULL);
}

static void index_map_type(void **state)
{
	(void)state;
	index_breaks(SAFETENSORS_INDEX_MAP_TYPE, "{\"weight_map\":null}", "null", "null");
	index_breaks(SAFETENSORS_INDEX_MAP_TYPE, "{\"weight_map\":[]}", "[]", "an array");
	index_breaks(SAFETENSORS_INDEX_MAP_TYPE, MAP("\"a\":\"f\",\"b\":2"), "2", "tensor \"b\"");
	index_breaks(SAFETENSORS_INDEX_MAP_TYPE, MAP("\"a\":[\"f\"]"), "[", "tensor \"a\"");
}

static void index_map_twice(void **state)
{
	(void)state;
	index_breaks(SAFETENSORS_INDEX_MAP_TWICE, "{\"weight_map\":{},\"weight_map\" :{}}", "\"weight_map\" ", NULL);
}

static void index_file_name(void **state)
{
	static const char *const bad[] = {
		"",  "/etc/passwd",	     "..",	  "../f", "a/../../f", "a/..", "a/../f",
		"/", "f\\u0000.safetensors", "\\u002e./f"};
	static const char *const good[] = {"f", "a/f", "./f", "..f", "f..", "a/...", "a/.../f", "a//f", "a\\\\..\\\\f"};
	char json[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char at[64];

		sprintf(json, MAP("\"a\" :\"%s\""), bad[i]);
		sprintf(at, "\"%s\"}", bad[i]);
		index_breaks(SAFETENSORS_INDEX_FILE_NAME, json, at, "tensor \"a\"");
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		sprintf(json, MAP("\"a\":\"%s\""), good[i]);
		safetensors_index_free(index_of(json));
	}
}

static void rules_of_names_hold(void **state)
{
	(void)state;
	index_breaks(SAFETENSORS_TENSOR_TWICE, MAP("\"a\":\"f\",\"b\":\"f\",\"\\u0061\":\"f\""), "\"\\u0061",
		     "tensor \"a\"");
	index_breaks(SAFETENSORS_TENSOR_NAME_NUL, MAP("\"a\\u0000\":\"f\""), "\"a", "\"a\\x00\"");
}

static void rules_of_json_hold(void **state)
{
	char deep[140] = "{\"x\":";

	(void)state;
	index_breaks(SAFETENSORS_JSON_CUT_SHORT, "", "", NULL);
	index_breaks(SAFETENSORS_JSON_CUT_SHORT, "{\"weight_map\":{\"a\":\"f\"}", "", NULL);
	index_breaks(SAFETENSORS_JSON_SYNTAX, "{\"weight_map\":{\"a\":f}}", "f}", "tensor \"a\"");
	index_breaks(SAFETENSORS_JSON_TRAILING, MAP("") "]", "]", NULL);
	index_breaks(SAFETENSORS_JSON_UTF8, "{\"\xff\":1}", "\xff", NULL);
	index_breaks(SAFETENSORS_JSON_SURROGATE, "{\"metadata\":\"\\ud800\"}", "\\u", NULL);
	index_breaks(SAFETENSORS_JSON_NUMBER, "{\"metadata\":{\"total_size\":007}}", "007", NULL);
	memset(deep + 5, '[', 127);
	deep[5 + 127] = '9';
	index_breaks(SAFETENSORS_JSON_DEPTH, deep, "[9", NULL);
}

static void an_index(void **state)
{
	static const char json[] =
		" {\n\"metadata\": {\"total_size\": 1.5e3, \"x\": [1, {\"weight_map\": 7}]},\n"
		"\"weight_map\": {\"b\": \"f2\", \"a\\u00e9\": \"sub/f1\", \"c\": \"f\\u0032\"}\n, \"y\": null}\n";
	static const char *const names[] = {"b", "a\xc3\xa9", "c"}, *const files[] = {"f2", "sub/f1", "f2"};
	static const size_t numbers[] = {0, 1, 0};
	struct safetensors_index *index = index_of(json);

	(void)state;
	assert_int_equal(safetensors_index_count(index), 3);
	for (size_t i = 0; i < 3; i++) {
		const struct safetensors_placement *p = safetensors_index_at(index, i);

		assert_string_equal(p->name, names[i]);
		assert_string_equal(p->file, files[i]);
		assert_int_equal(p->file_index, numbers[i]);
		assert_int_equal(json[p->position], '"');
		assert_int_equal(json[p->position + 1], *names[i]);
	}
	assert_int_equal(safetensors_index_file_count(index), 2);
	assert_string_equal(safetensors_index_file_at(index, 0), "f2");
	assert_string_equal(safetensors_index_file_at(index, 1), "sub/f1");
	safetensors_index_free(index);
}

static void an_empty_map(void **state)
{
	struct safetensors_index *index = index_of(MAP(""));

	(void)state;
	assert_int_equal(safetensors_index_count(index), 0);
	assert_int_equal(safetensors_index_file_count(index), 0);
	safetensors_index_free(index);
	safetensors_index_free(NULL);
}

static void many_placements(void **state)
{
	enum { TENSORS = 5000, FILES = 163 };
	char *json;
	size_t bytes;
	FILE *f = open_memstream(&json, &bytes);
	struct safetensors_index *index;

	(void)state;
	fputs("{\"weight_map\":{", f);
	for (unsigned i = 0; i < TENSORS; i++)
		fprintf(f, "%s\"t%u\":\"model-%u\"", i ? "," : "", i, i % FILES);
	fputs("}}", f);
	fclose(f);
	index = index_of(json);
	assert_int_equal(safetensors_index_count(index), TENSORS);
	assert_int_equal(safetensors_index_file_count(index), FILES);
	for (unsigned i = 0; i < TENSORS; i++) {
		const struct safetensors_placement *p = safetensors_index_at(index, i);

		assert_int_equal(p->file_index, i % FILES);
		assert_string_equal(p->file, safetensors_index_file_at(index, p->file_index));
	}
	safetensors_index_free(index);
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index_type),	      cmocka_unit_test(index_map_missing),
		cmocka_unit_test(index_map_type),     cmocka_unit_test(index_map_twice),
		cmocka_unit_test(index_file_name),    cmocka_unit_test(rules_of_names_hold),
		cmocka_unit_test(rules_of_json_hold), cmocka_unit_test(an_index),
		cmocka_unit_test(an_empty_map),	      cmocka_unit_test(many_placements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of framing and of JSON: a test for each. */
#include "broken.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"

#define T TENSOR("t", "U8", "[4]", "[0,4]")
/* A tensor with something besides, where any JSON may stand. */
#define WITH(value) "{\"t\":{" MEMBERS("U8", "[4]", "[0,4]") ",\"x\":" value "}}"

/* ------------------------------------------------------------------ framing */

static void prefix_breaks(enum safetensors_rule rule, uint64_t length, size_t have, uint64_t file_size)
{
	uint8_t prefix[SAFETENSORS_PREFIX_BYTES];
	struct fst3fs_error err;
	uint64_t bytes;

	for (size_t i = 0; i < sizeof(prefix); i++)
		prefix[i] = (uint8_t)(length >> (8 * i));
	fst3fs_err_reset(&err);
	assert_int_equal(safetensors_check_prefix(prefix, have, file_size, &bytes, &err), -EINVAL);
	assert_int_equal(err.rule, rule);
	assert_int_equal(err.offset, 0);
}

static void file_too_short(void **state)
{
	(void)state;
	for (size_t have = 0; have < SAFETENSORS_PREFIX_BYTES; have++)
		prefix_breaks(SAFETENSORS_FILE_TOO_SHORT, 2, have, have);
}

static void header_too_long(void **state)
{
	(void)state;
	prefix_breaks(SAFETENSORS_HEADER_TOO_LONG, SAFETENSORS_MAX_JSON_BYTES + 1, 8, UINT64_MAX);
	prefix_breaks(SAFETENSORS_HEADER_TOO_LONG, UINT64_MAX, 8, 10);
}

static void header_beyond_file(void **state)
{
	(void)state;
	prefix_breaks(SAFETENSORS_HEADER_BEYOND_FILE, 3, 8, 10);
	bytes_break(SAFETENSORS_HEADER_BEYOND_FILE, "{}", 2, 9, 0);
	bytes_break(SAFETENSORS_HEADER_BEYOND_FILE, "{}", 2, 7, 0);
}

static void header_start(void **state)
{
	(void)state;
	breaks(SAFETENSORS_HEADER_START, "", 0, "", NULL);
	breaks(SAFETENSORS_HEADER_START, " {}", 0, " ", NULL);
	breaks(SAFETENSORS_HEADER_START, "[]", 0, "[", NULL);
	breaks(SAFETENSORS_HEADER_START, "\xef\xbb\xbf{}", 0, "\xef", NULL);
}

/* ------------------------------------------------------------------ JSON */

static void json_utf8(void **state)
{
	(void)state;
	breaks(SAFETENSORS_JSON_UTF8, "{\"\xff\":0}", 0, "\xff", NULL);
	breaks(SAFETENSORS_JSON_UTF8, "{\"a\xc0\xaf\":0}", 0, "\xc0", NULL);
	breaks(SAFETENSORS_JSON_UTF8, "{\"\xed\xa0\x80\":0}", 0, "\xed", NULL);
	breaks(SAFETENSORS_JSON_UTF8, "{\"\xe6\xa8", 0, "\xe6", NULL);
	bytes_break(SAFETENSORS_JSON_UTF8, "{\"\0\":0}", 7, 15, 10);
	fine("{" TENSOR("\xe6\xa8\xa1\xf0\x9f\x98\x80\xc3\xa9", "U8", "[]", "[0,1]") "}", 1);
}

static void json_syntax(void **state)
{
	(void)state;
	breaks(SAFETENSORS_JSON_SYNTAX, "{,}", 0, ",", "a key");
	breaks(SAFETENSORS_JSON_SYNTAX, "{t:1}", 0, "t", "a key");
	breaks(SAFETENSORS_JSON_SYNTAX, "{\"t\" 1}", 0, "1", "':'");
	breaks(SAFETENSORS_JSON_SYNTAX, "{" T ",#}", 4, "#", "a key");
	bytes_break(SAFETENSORS_JSON_SYNTAX, "{\"__metadata__\":{},}", 20, 28, 8 + 19);
	breaks(SAFETENSORS_JSON_SYNTAX, "{" T " x}", 4, "x", "',' or '}'");
	breaks(SAFETENSORS_JSON_SYNTAX, "{\"t\":{\"shape\":[1,,2]}}", 0, ",2", "\"t\"");
	breaks(SAFETENSORS_JSON_SYNTAX, "{\"t\":{\"shape\":[1 2]}}", 0, "2]", "',' or ']'");
	breaks(SAFETENSORS_JSON_SYNTAX, "{\"t\":{\"shape\":[1}}", 0, "}}", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, "{\"t\":+1}", 0, "+", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, "{\"t\":\xe2\x82\xac}", 0, "\xe2", "\xe2\x82\xac");
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("tru"), 4, "tru", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("nul "), 4, "nul", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("truest"), 4, "st}", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("NaN"), 4, "NaN", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("'a'"), 4, "'", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("[1,]"), 4, "]}}", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("/**/1"), 4, "/", NULL);
	breaks(SAFETENSORS_JSON_SYNTAX, WITH("\v1"), 4, "\v", NULL);
	fine("{\n\t\"t\" :\r{" MEMBERS("U8", "[ 4 ]", "[ 0 , 4 ]") " } } \n\t\r ", 4);
}

static void json_cut_short(void **state)
{
	static const char whole[] = WITH("[true,\"\\u0041\",-1.5e3,{\"a\":null}]");
	const size_t bytes = sizeof(whole) - 1;

	(void)state;
	fine(whole, 4);
	breaks(SAFETENSORS_JSON_CUT_SHORT, "{", 0, "", NULL);
	breaks(SAFETENSORS_JSON_CUT_SHORT, "{\"t", 0, "", NULL);
	breaks(SAFETENSORS_JSON_CUT_SHORT, "{\"t\\", 0, "", NULL);
	breaks(SAFETENSORS_JSON_CUT_SHORT, "{\"t\":", 0, "", "\"t\"");
	/* Wherever it is cut, it is broken; and nothing behind the cut is read. */
	for (size_t cut = 1; cut < bytes; cut++) {
		struct safetensors_table *table;
		char *copy = malloc(cut);

		memcpy(copy, whole, cut);
		assert_int_equal(safetensors_table_parse(copy, cut, 8 + bytes + 4, &table, NULL), -EINVAL);
		free(copy);
	}
}

static void json_trailing(void **state)
{
	(void)state;
	breaks(SAFETENSORS_JSON_TRAILING, "{}  x", 0, "x", NULL);
	bytes_break(SAFETENSORS_JSON_TRAILING, "{}{}", 4, 12, 8 + 2);
	bytes_break(SAFETENSORS_JSON_TRAILING, "{},", 3, 11, 8 + 2);
}

/* `depth` arrays in each other, in a member of a tensor: two levels more. */
static char *nested(int depth)
{
	char *json = malloc(512 + 2 * (size_t)depth), *at = json;

	at += sprintf(at, "{\"t\":{%s,\"x\":", MEMBERS("U8", "[4]", "[0,4]"));
	memset(at, '[', (size_t)depth);
	memset(at + depth, ']', (size_t)depth);
	strcpy(at + 2 * depth, "}}");
	return json;
}

static void json_depth(void **state)
{
	char *deep = nested(125), *deeper = nested(126), *deepest = nested(100000);

	(void)state;
	fine(deep, 4);
	breaks(SAFETENSORS_JSON_DEPTH, deeper, 4, "[]", "127");
	bytes_break(SAFETENSORS_JSON_DEPTH, deepest, strlen(deepest), 8 + strlen(deepest) + 4,
		    (uint64_t)(8 + (strstr(deeper, "[]") - deeper)));
	free(deep);
	free(deeper);
	free(deepest);
}

static void json_control(void **state)
{
	(void)state;
	breaks(SAFETENSORS_JSON_CONTROL, "{\"a\nb\":0}", 0, "\n", NULL);
	breaks(SAFETENSORS_JSON_CONTROL, WITH("\"0123456789\x1f\""), 4, "\x1f", NULL);
	breaks(SAFETENSORS_JSON_CONTROL, WITH("\"\\\\\t\""), 4, "\t", NULL);
	fine("{" TENSOR("\x7f", "U8", "[4]", "[0,4]") "}", 4);
}

static void json_escape(void **state)
{
	(void)state;
	breaks(SAFETENSORS_JSON_ESCAPE, "{\"a\\x\":0}", 0, "\\x", NULL);
	breaks(SAFETENSORS_JSON_ESCAPE, "{\"a\\u12g4\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_ESCAPE, "{\"a\\u123\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_ESCAPE, "{\"a\\U0041\":0}", 0, "\\U", NULL);
	breaks(SAFETENSORS_JSON_ESCAPE, WITH("\"\\'\""), 4, "\\'", NULL);
}

static void json_surrogate(void **state)
{
	(void)state;
	breaks(SAFETENSORS_JSON_SURROGATE, "{\"a\\ud83d\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_SURROGATE, "{\"a\\ude00\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_SURROGATE, "{\"a\\ude00\\ud83d\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_SURROGATE, "{\"a\\ud83dxxxxxx\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_SURROGATE, "{\"a\\ud83d\\u0041\":0}", 0, "\\u", NULL);
	breaks(SAFETENSORS_JSON_SURROGATE, WITH("\"\\udfff\""), 4, "\\u", NULL);
}

static void json_number(void **state)
{
	static const char *const bad[] = {"01", "-01", "-", "1.", "1.e5", "1e", "1e+", "-x", "00"};
	static const char *const good[] = {"0", "-0", "10", "1.5", "0.0", "1e5", "1E+5", "0e-0", "-1.25e-10", "1e999"};
	char json[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct safetensors_table *table;
		struct fst3fs_error err;

		fst3fs_err_reset(&err);
		sprintf(json, WITH("%s"), bad[i]);
		assert_int_equal(safetensors_table_parse(json, strlen(json), 8 + strlen(json) + 4, &table, &err),
				 -EINVAL);
		assert_int_equal(err.rule, SAFETENSORS_JSON_NUMBER);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		sprintf(json, WITH("%s"), good[i]);
		fine(json, 4);
	}
	breaks(SAFETENSORS_JSON_NUMBER, "{\"t\":{\"shape\":[01]}}", 0, "01", "\"t\"");
	breaks(SAFETENSORS_JSON_NUMBER, "{\"t\":{\"shape\":[1.]}}", 0, "]}}", "\"t\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_too_short),     cmocka_unit_test(header_too_long),
		cmocka_unit_test(header_beyond_file), cmocka_unit_test(header_start),
		cmocka_unit_test(json_utf8),	      cmocka_unit_test(json_syntax),
		cmocka_unit_test(json_cut_short),     cmocka_unit_test(json_trailing),
		cmocka_unit_test(json_depth),	      cmocka_unit_test(json_control),
		cmocka_unit_test(json_escape),	      cmocka_unit_test(json_surrogate),
		cmocka_unit_test(json_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

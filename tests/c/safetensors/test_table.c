/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of tensors and of metadata: a test for each; and what a table says of a valid header. */
#include "broken.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T TENSOR("t", "U8", "[4]", "[0,4]")

/* ------------------------------------------------------------------ one tensor */

static void tensor_name_nul(void **state)
{
	(void)state;
	breaks(SAFETENSORS_TENSOR_NAME_NUL, "{" TENSOR("a\\u0000b", "U8", "[4]", "[0,4]") "}", 4, "\"a", "\"a\\x00b\"");
}

static void tensor_twice(void **state)
{
	(void)state;
	breaks(SAFETENSORS_TENSOR_TWICE, "{" T ",\n" TENSOR("t", "U8", "[4]", "[4,8]") "}", 8,
	       "\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4", "tensor \"t\"");
	/* Equal when unescaped. */
	breaks(SAFETENSORS_TENSOR_TWICE, "{" T ",\"\\u0074\":{}}", 4, "\"\\u0074", "tensor \"t\"");
}

static void tensor_type(void **state)
{
	(void)state;
	breaks(SAFETENSORS_TENSOR_TYPE, "{\"t\":[\"U8\",[4],[0,4]]}", 4, "[\"", "an array");
	breaks(SAFETENSORS_TENSOR_TYPE, "{\"t\":null}", 0, "null", "null");
	breaks(SAFETENSORS_TENSOR_TYPE, "{\"t\":\"U8\"}", 0, "\"U8", "a string");
	breaks(SAFETENSORS_TENSOR_TYPE, "{\"t\":-1}", 0, "-1", "a number");
	breaks(SAFETENSORS_TENSOR_TYPE, "{\"t\":true}", 0, "true", "tensor \"t\"");
}

static void key_twice(void **state)
{
	(void)state;
	breaks(SAFETENSORS_KEY_TWICE, "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"shape\" :[4]}}", 4, "\"shape\" ",
	       "\"shape\"");
	breaks(SAFETENSORS_KEY_TWICE, "{\"t\":{\"dtype\":\"U8\",\"d\\u0074ype\":\"U8\"}}", 4, "\"d\\u", "\"dtype\"");
	breaks(SAFETENSORS_KEY_TWICE, "{\"t\":{\"data_offsets\":[0,4],\"data_offsets\" :[0,4]}}", 4,
	       "\"data_offsets\" ", "tensor \"t\"");
}

static void key_missing(void **state)
{
	(void)state;
	breaks(SAFETENSORS_KEY_MISSING, "{\"t\":{}}", 0, "{}", "\"dtype\"");
	breaks(SAFETENSORS_KEY_MISSING, "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "{\"dtype",
	       "\"shape\"");
	breaks(SAFETENSORS_KEY_MISSING, "{\"t\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "{\"dtype", "\"data_offsets\"");
	breaks(SAFETENSORS_KEY_MISSING, "{\"t\":{\"Dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
	       "{\"Dtype", "tensor \"t\"");
}

static void dtype_type(void **state)
{
	(void)state;
	breaks(SAFETENSORS_DTYPE_TYPE, "{\"t\":{\"dtype\":{\"U8\":null}}}", 4, "{\"U8", "an object");
	breaks(SAFETENSORS_DTYPE_TYPE, "{\"t\":{\"dtype\":8}}", 4, "8", "tensor \"t\"");
}

static void dtype_unknown(void **state)
{
	(void)state;
	breaks(SAFETENSORS_DTYPE_UNKNOWN, "{" TENSOR("t", "u8", "[4]", "[0,4]") "}", 4, "\"u8", "\"u8\"");
	breaks(SAFETENSORS_DTYPE_UNKNOWN, "{" TENSOR("t", "U", "[4]", "[0,4]") "}", 4, "\"U\"", "\"U\"");
	breaks(SAFETENSORS_DTYPE_UNKNOWN, "{" TENSOR("t", "U8\\u0000", "[4]", "[0,4]") "}", 4, "\"U8", "tensor \"t\"");
	breaks(SAFETENSORS_DTYPE_UNKNOWN, "{" TENSOR("t", "", "[4]", "[0,4]") "}", 4, "\"\"", "tensor \"t\"");
}

static void shape_type(void **state)
{
	static const char *const bad[] = {
		"-1",	 "-0",	 "1.0", "1e2",	"18446744073709551616",
		"\"4\"", "null", "[4]", "true", "99999999999999999999999999999999999999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char json[200];

		sprintf(json, "{\"t\":{\"shape\":[7,%s]}}", bad[i]);
		breaks(SAFETENSORS_SHAPE_TYPE, json, 4, bad[i], "tensor \"t\"");
	}
	breaks(SAFETENSORS_SHAPE_TYPE, "{\"t\":{\"shape\":4}}", 4, "4", "\"shape\"");
	breaks(SAFETENSORS_SHAPE_TYPE, "{\"t\":{\"shape\":null}}", 4, "null", "\"shape\"");
	fine("{" TENSOR("t", "U8", "[0,18446744073709551615]", "[0,0]") "}", 0);
}

static void shape_overflow(void **state)
{
	(void)state;
	breaks(SAFETENSORS_SHAPE_OVERFLOW, "{" TENSOR("t", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0,
	       "[4294967296", "tensor \"t\"");
	/* In bits. */
	breaks(SAFETENSORS_SHAPE_OVERFLOW, "{" TENSOR("t", "U8", "[2305843009213693952]", "[0,0]") "}", 0, "[2305",
	       "bits");
	breaks(SAFETENSORS_SHAPE_OVERFLOW, "{" TENSOR("t", "F64", "[288230376151711744]", "[0,0]") "}", 0, "[2882",
	       "F64");
	breaks(SAFETENSORS_SHAPE_OVERFLOW, "{" TENSOR("t", "F4", "[4611686018427387904]", "[0,0]") "}", 0, "[4611",
	       "F4");
	/* From left to right, as safetensors multiplies. */
	breaks(SAFETENSORS_SHAPE_OVERFLOW, "{" TENSOR("t", "U8", "[9223372036854775808,2,0]", "[0,0]") "}", 0, "[9223",
	       NULL);
	fine("{" TENSOR("t", "U8", "[0,9223372036854775808,2]", "[0,0]") "}", 0);
	breaks(SAFETENSORS_OFFSETS_SIZE, "{" TENSOR("t", "U8", "[2305843009213693951]", "[0,0]") "}", 0, "[0,0]", NULL);
}

static void shape_sub_byte(void **state)
{
	(void)state;
	breaks(SAFETENSORS_SHAPE_SUB_BYTE, "{" TENSOR("t", "F4", "[3,3]", "[0,5]") "}", 5, "[3,3]", "9 elements of F4");
	breaks(SAFETENSORS_SHAPE_SUB_BYTE, "{" TENSOR("t", "F6_E2M3", "[2]", "[0,2]") "}", 2, "[2]", "tensor \"t\"");
	breaks(SAFETENSORS_SHAPE_SUB_BYTE, "{" TENSOR("t", "F6_E3M2", "[]", "[0,1]") "}", 1, "[]", "tensor \"t\"");
	fine("{" TENSOR("t", "F4", "[3,2]", "[0,3]") "}", 3);
	fine("{" TENSOR("t", "F6_E2M3", "[2,2]", "[0,3]") "}", 3);
	fine("{" TENSOR("t", "F6_E3M2", "[3,0]", "[0,0]") "}", 0);
}

static void offsets_type(void **state)
{
	(void)state;
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":[]}}", 4, "[]", "not of 0");
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":[4]}}", 4, "[4]", "not of 1");
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":[0,4,4]}}", 4, "[0", "not of more");
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":[-1,4]}}", 4, "-1", "tensor \"t\"");
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":[0,4.0]}}", 4, "4.0", "4.0");
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":[0,18446744073709551616]}}", 4, "184", NULL);
	breaks(SAFETENSORS_OFFSETS_TYPE, "{\"t\":{\"data_offsets\":{\"0\":4}}}", 4, "{\"0", "an object");
}

static void offsets_reversed(void **state)
{
	(void)state;
	breaks(SAFETENSORS_OFFSETS_REVERSED, "{" TENSOR("t", "U8", "[4]", "[4,0]") "}", 4, "[4,0]", "tensor \"t\"");
	breaks(SAFETENSORS_OFFSETS_REVERSED, "{" TENSOR("t", "U8", "[1]", "[18446744073709551615,0]") "}", 4, "[184",
	       NULL);
}

static void offsets_size(void **state)
{
	(void)state;
	breaks(SAFETENSORS_OFFSETS_SIZE, "{" TENSOR("t", "F32", "[2,3]", "[0,23]") "}", 23, "[0,23]",
	       "23 bytes, but 6 elements of F32 are 24");
	breaks(SAFETENSORS_OFFSETS_SIZE, "{" TENSOR("t", "U8", "[]", "[0,0]") "}", 0, "[0,0]", "tensor \"t\"");
	breaks(SAFETENSORS_OFFSETS_SIZE, "{" TENSOR("t", "U8", "[0]", "[0,1]") "}", 1, "[0,1]", "tensor \"t\"");
}

/* ------------------------------------------------------------------ all tensors */

static void data_gap(void **state)
{
	(void)state;
	breaks(SAFETENSORS_DATA_GAP, "{" TENSOR("t", "U8", "[4]", "[1,5]") "}", 5, "[1,5]", "tensor \"t\"");
	breaks(SAFETENSORS_DATA_GAP, "{" TENSOR("b", "U8", "[2]", "[5,7]") "," TENSOR("a", "U8", "[4]", "[0,4]") "}", 7,
	       "[5,7]", "tensor \"b\"");
	breaks(SAFETENSORS_DATA_GAP, "{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[0]", "[9,9]") "}", 4,
	       "[9,9]", "tensor \"b\"");
}

static void data_overlap(void **state)
{
	(void)state;
	breaks(SAFETENSORS_DATA_OVERLAP,
	       "{" TENSOR("b", "U8", "[4]", "[3,7]") "," TENSOR("a", "U8", "[4]", "[0,4]") "}", 7, "[3,7]",
	       "tensor \"b\"");
	breaks(SAFETENSORS_DATA_OVERLAP,
	       "{" TENSOR("b", "U8", "[4]", "[0,4]") "," TENSOR("a", "U8", "[4]", "[0,4]") "}", 4, "[0,4]",
	       "tensor \"b\"");
}

static void data_beyond_file(void **state)
{
	(void)state;
	breaks(SAFETENSORS_DATA_BEYOND_FILE, "{" T "}", 3, "[0,4]", "tensor \"t\"");
	breaks(SAFETENSORS_DATA_BEYOND_FILE, "{" T "}", 0, "[0,4]", "cut short");
	breaks(SAFETENSORS_DATA_BEYOND_FILE,
	       "{" TENSOR("t", "U8", "[2305843009213693951]", "[0,2305843009213693951]") "}", 0, "[0,", NULL);
}

static void data_left_over(void **state)
{
	(void)state;
	breaks(SAFETENSORS_DATA_LEFT_OVER, "{}", 1, "", "1 bytes");
	bytes_break(SAFETENSORS_DATA_LEFT_OVER, "{" T "}", sizeof("{" T "}") - 1, 8 + sizeof("{" T "}") - 1 + 10,
		    8 + sizeof("{" T "}") - 1 + 4);
}

/* ------------------------------------------------------------------ metadata */

static void metadata_type(void **state)
{
	(void)state;
	breaks(SAFETENSORS_METADATA_TYPE, "{\"__metadata__\":[]}", 0, "[]", "__metadata__");
	breaks(SAFETENSORS_METADATA_TYPE, "{\"__metadata__\":\"x\"}", 0, "\"x", "__metadata__");
	breaks(SAFETENSORS_METADATA_TYPE, "{\"__metadata__\":{\"a\":\"b\",\"c\":1}}", 0, "1", "__metadata__");
	breaks(SAFETENSORS_METADATA_TYPE, "{\"__metadata__\":{\"a\":null}}", 0, "null", "null");
	breaks(SAFETENSORS_METADATA_TYPE, "{\"__metadata__\":{\"a\":{}}}", 0, "{}", "an object");
	breaks(SAFETENSORS_METADATA_TYPE, "{\"__m\\u0065tadata__\":1}", 0, "1}", NULL);
}

static void metadata_twice(void **state)
{
	(void)state;
	breaks(SAFETENSORS_METADATA_TWICE, "{\"__metadata__\":{},\"__metadata__\" :{}}", 0, "\"__metadata__\" ", NULL);
	breaks(SAFETENSORS_METADATA_TWICE, "{\"__metadata__\":null,\"__metadata__\" :{}}", 0, "\"__metadata__\" ",
	       NULL);
	breaks(SAFETENSORS_METADATA_TWICE, "{\"__metadata__\":{\"k\":\"\",\"k\" :\"\"}}", 0, "\"k\" ", "\"k\"");
	fine("{\"__metadata__\":{\"k\\u0000\":\"\",\"k\":\"\",\"k\\u0000a\":\"\"}}", 0);
}

/* ------------------------------------------------------------------ valid headers */

static void tensors_stand_in_the_order_of_their_bytes(void **state)
{
	static const char json[] =
		"{" TENSOR("z", "F32", "[2,3]", "[6,30]") "," TENSOR("full", "BF16", "[3]", "[0,6]") "," TENSOR(
			"b", "U8", "[7,0]",
			"[0,0]") "," TENSOR("a", "F64", "[0]",
					    "[0,0]") "," TENSOR("", "F4", "[2]", "[30,31]") "," TENSOR("scalar", "I64",
												       "[]",
												       "[31,39]") "}";
	static const char *const names[] = {"a", "b", "full", "z", "", "scalar"};
	struct safetensors_table *table = table_of(json, 39);
	uint64_t at = 8 + sizeof(json) - 1;
	const struct safetensors_tensor *t;

	(void)state;
	assert_int_equal(safetensors_table_count(table), 6);
	for (size_t i = 0; i < 6; i++) {
		t = safetensors_table_at(table, i);
		assert_string_equal(t->name, names[i]);
		assert_ptr_equal(safetensors_table_find(table, names[i]), t);
		assert_int_equal(t->begin, at);
		at = t->end;
	}
	assert_int_equal(at, 8 + sizeof(json) - 1 + 39);
	t = safetensors_table_find(table, "z");
	assert_int_equal(t->dtype, SAFETENSORS_F32);
	assert_int_equal(t->rank, 2);
	assert_int_equal(t->shape[0], 2);
	assert_int_equal(t->shape[1], 3);
	assert_int_equal(safetensors_table_find(table, "scalar")->rank, 0);
	assert_null(safetensors_table_find(table, "zz"));
	assert_false(safetensors_has_metadata(table));
	safetensors_table_free(table);
}

static void names_are_unescaped(void **state)
{
	struct safetensors_table *table = table_of(
		"{" TENSOR("\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\uD83d\\ude00 \xc3\xa9", "U8", "[]", "[0,1]") "}",
		1);

	(void)state;
	assert_string_equal(safetensors_table_at(table, 0)->name,
			    "\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \xc3\xa9");
	safetensors_table_free(table);
}

static void every_dtype(void **state)
{
	(void)state;
	for (int i = 0; i < SAFETENSORS_DTYPES; i++) {
		const enum safetensors_dtype dtype = (enum safetensors_dtype)i;
		const unsigned bytes = safetensors_dtype_bits(dtype);
		struct safetensors_table *table;
		char json[128];

		sprintf(json, "{" TENSOR("t", "%s", "[8]", "[0,%u]") "}", safetensors_dtype_name(dtype), bytes);
		table = table_of(json, bytes);
		assert_int_equal(safetensors_table_at(table, 0)->dtype, dtype);
		safetensors_table_free(table);
	}
}

static void other_keys_are_skipped(void **state)
{
	(void)state;
	fine("{\"t\":{\"x\":[{\"dtype\":1,\"y\":[]},\"\\u0000\",1.5e3,true,false,null,{}]," MEMBERS(
		     "U8", "[4]", "[0,4]") ",\"x\":0}}",
	     4);
}

static void metadata_is_kept_in_its_order(void **state)
{
	struct safetensors_table *table =
		table_of("{\"__metadata__\":{\"z\":\"1\",\"a\\u0000b\":\"\",\"\":\"\\u0000\"}}", 0);
	const struct safetensors_metadatum *m;

	(void)state;
	assert_true(safetensors_has_metadata(table));
	assert_int_equal(safetensors_metadata_count(table), 3);
	assert_string_equal(safetensors_metadata_at(table, 0)->key, "z");
	assert_string_equal(safetensors_metadata_at(table, 0)->value, "1");
	m = safetensors_metadata_at(table, 1);
	assert_int_equal(m->key_bytes, 3);
	assert_memory_equal(m->key, "a\0b", 4);
	assert_int_equal(m->value_bytes, 0);
	m = safetensors_metadata_at(table, 2);
	assert_int_equal(m->value_bytes, 1);
	assert_memory_equal(m->value, "\0\0", 2);
	safetensors_table_free(table);
}

static void metadata_may_be_empty_or_null(void **state)
{
	struct safetensors_table *empty = table_of("{\"__metadata__\":{}}", 0),
				 *null = table_of("{\"__metadata__\":null}", 0);

	(void)state;
	assert_true(safetensors_has_metadata(empty));
	assert_int_equal(safetensors_metadata_count(empty), 0);
	assert_false(safetensors_has_metadata(null));
	safetensors_table_free(empty);
	safetensors_table_free(null);
}

static void no_tensors(void **state)
{
	struct safetensors_table *table = table_of("{}", 0);

	(void)state;
	assert_int_equal(safetensors_table_count(table), 0);
	assert_null(safetensors_table_find(table, ""));
	safetensors_table_free(table);
	safetensors_table_free(NULL);
}

/* In an order that is not that of their bytes, and so many that all that grows has grown. */
static void many_tensors(void **state)
{
	enum { TENSORS = 20011, STEP = 7919 };
	char *json;
	size_t bytes;
	FILE *f = open_memstream(&json, &bytes);
	struct safetensors_table *table;

	(void)state;
	for (unsigned i = 0; i < TENSORS; i++) {
		unsigned k = i * STEP % TENSORS;

		fprintf(f, "%c\n" TENSOR("layer.%u", "U16", "[1,%u]", "[%u,%u]"), i ? ',' : '{', k, 1u, 2 * k,
			2 * k + 2);
	}
	fputc('}', f);
	fclose(f);
	table = table_of(json, 2 * TENSORS);
	assert_int_equal(safetensors_table_count(table), TENSORS);
	for (unsigned i = 0; i < TENSORS; i++) {
		char name[32];

		sprintf(name, "layer.%u", i);
		assert_string_equal(safetensors_table_at(table, i)->name, name);
		assert_ptr_equal(safetensors_table_find(table, name), safetensors_table_at(table, i));
	}
	safetensors_table_free(table);
	free(json);
}

/* ------------------------------------------------------------------ errors */

static void a_long_name_is_cut_in_an_error(void **state)
{
	char json[8192] = "{\"";

	(void)state;
	for (int i = 0; i < 1000; i++)
		strcat(json, i % 2 ? "\\u0001" : "\xe2\x82\xac");
	strcat(json, "\":1}");
	breaks(SAFETENSORS_TENSOR_TYPE, json, 0, "1}", "...\": it must be");
}

static void rules_have_names(void **state)
{
	(void)state;
	assert_string_equal(safetensors_rule_name(SAFETENSORS_DATA_GAP), "data-gap");
	assert_string_equal(safetensors_rule_name(SAFETENSORS_RULE_NONE), "");
	assert_string_equal(safetensors_rule_name((enum safetensors_rule)10000), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tensor_name_nul),
		cmocka_unit_test(tensor_twice),
		cmocka_unit_test(tensor_type),
		cmocka_unit_test(key_twice),
		cmocka_unit_test(key_missing),
		cmocka_unit_test(dtype_type),
		cmocka_unit_test(dtype_unknown),
		cmocka_unit_test(shape_type),
		cmocka_unit_test(shape_overflow),
		cmocka_unit_test(shape_sub_byte),
		cmocka_unit_test(offsets_type),
		cmocka_unit_test(offsets_reversed),
		cmocka_unit_test(offsets_size),
		cmocka_unit_test(data_gap),
		cmocka_unit_test(data_overlap),
		cmocka_unit_test(data_beyond_file),
		cmocka_unit_test(data_left_over),
		cmocka_unit_test(metadata_type),
		cmocka_unit_test(metadata_twice),
		cmocka_unit_test(tensors_stand_in_the_order_of_their_bytes),
		cmocka_unit_test(names_are_unescaped),
		cmocka_unit_test(every_dtype),
		cmocka_unit_test(other_keys_are_skipped),
		cmocka_unit_test(metadata_is_kept_in_its_order),
		cmocka_unit_test(metadata_may_be_empty_or_null),
		cmocka_unit_test(no_tensors),
		cmocka_unit_test(many_tensors),
		cmocka_unit_test(a_long_name_is_cut_in_an_error),
		cmocka_unit_test(rules_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

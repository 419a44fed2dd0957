/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file of `bytes` behind a length of `claimed`. */
static const char *raw_file(const char *name, uint64_t claimed, const void *bytes, size_t count)
{
	const char *path = fixture_file(name, 0, 0);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(write(fd, &claimed, 8), 8);
	assert_int_equal(write(fd, bytes, count), count);
	close(fd);
	return path;
}

static struct fst3fs_reader *plain_reader(void)
{
	struct fst3fs_options o;
	struct fst3fs_reader *r;

	fst3fs_options_init(&o);
	assert_int_equal(fst3fs_open(&o, &r, NULL), 0);
	return r;
}

static void verdicts(void **state)
{
	static const struct {
		const char *name;
		uint64_t claimed;
		const char *bytes;
		size_t count;
		const char *text; /* NULL: it is fine */
	} cases[] = {
		{"good", 2, "{}", 2, NULL},
		{"good-with-data", 2, "{}data", 6, NULL},
		{"good-utf8", 12, "{\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", 12, NULL},
		{"good-padded", 8, "{}      ", 8, NULL},
		{"too-long", 3, "{}", 2, "goes beyond"},
		{"absurd", UINT64_MAX, "{}", 2, "over the limit"},
		{"over-limit", 100000001, "{}", 2, "over the limit"},
		{"empty-json", 0, "{}", 2, "does not start with '{'"},
		{"no-brace", 2, "[]", 2, "does not start with '{'"},
		{"bad-utf8", 4, "{\"\xff\"", 4, "json-utf8, byte 10"},
		{"overlong", 4, "{\xc0\x80}", 4, "json-utf8, byte 9"},
		{"surrogate", 5, "{\xed\xa0\x80}", 5, "json-utf8, byte 9"},
		{"cut-sequence", 3, "{\xe2\x82", 3, "json-utf8, byte 9"},
		{"nul", 3, "{\0}", 3, "json-utf8, byte 9"},
		{"late-bad-utf8", 20, "{                 \xff}", 20, "json-utf8, byte 26"},
	};
	struct fst3fs_reader *r = plain_reader();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *path = raw_file(cases[i].name, cases[i].claimed, cases[i].bytes, cases[i].count);
		struct fst3fs_header h;
		struct fst3fs_error err;
		int rc = fst3fs_read_headers(r, &path, 1, 1, &h, &err);

		if (!cases[i].text) {
			assert_int_equal(rc, 0);
			assert_int_equal(h.length, 8 + cases[i].claimed);
			assert_int_equal(h.file_size, 8 + cases[i].count);
			assert_int_equal(strlen(h.json), cases[i].claimed);
			assert_memory_equal(h.json, cases[i].bytes, cases[i].claimed);
		} else {
			assert_int_equal(rc, -EINVAL);
			assert_int_equal(err.kind, FST3FS_ERROR_VALUE);
			assert_string_equal(err.path, path);
			if (!strstr(err.text, cases[i].text))
				fail_msg("%s: %s", cases[i].name, err.text);
		}
		fst3fs_headers_free(&h, 1);
	}
	fst3fs_close(r);
}

static void a_file_shorter_than_the_length(void **state)
{
	struct fst3fs_reader *r = plain_reader();
	struct fst3fs_header h;
	struct fst3fs_error err;

	(void)state;
	for (uint64_t size = 0; size < 8; size++) {
		const char *path = fixture_file("short", 1, size);

		assert_int_equal(fst3fs_read_headers(r, &path, 1, 1, &h, &err), -EINVAL);
		assert_non_null(strstr(err.text, "shorter than the 8-byte length"));
	}
	fst3fs_close(r);
}

static void a_long_header_takes_a_second_read(void **state)
{
	const size_t length = 700001;
	char *json = malloc(length);
	struct fst3fs_reader *r = plain_reader();
	struct fst3fs_header h;
	const char *path;

	(void)state;
	memset(json, ' ', length);
	json[0] = '{';
	json[length - 1] = '}';
	path = raw_file("long", length, json, length);
	assert_int_equal(fst3fs_read_headers(r, &path, 1, 1, &h, NULL), 0);
	assert_memory_equal(h.json, json, length);
	fst3fs_headers_free(&h, 1);
	fst3fs_close(r);
	free(json);
}

static void a_batch_reports_the_first_failure_and_keeps_the_rest(void **state)
{
	enum { FILES = 100 };
	struct fst3fs_reader *r = plain_reader();
	char names[FILES][160];
	const char *paths[FILES];
	struct fst3fs_header h[FILES];
	struct fst3fs_error err;

	(void)state;
	for (int i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		snprintf(names[i], sizeof(names[i]), "%s%s", raw_file(name, 2, "{}", 2),
			 i == 40 || i == 70 ? "-no" : "");
		paths[i] = names[i];
	}
	assert_int_equal(fst3fs_read_headers(r, paths, FILES, 8, h, &err), -ENOENT);
	assert_int_equal(err.index, 40);
	assert_string_equal(err.path, paths[40]);
	for (int i = 0; i < FILES; i++) {
		bool good = i != 40 && i != 70;

		assert_int_equal(h[i].json != NULL, good);
		assert_int_equal(fst3fs_has_file(r, paths[i]), good);
	}
	fst3fs_headers_free(h, FILES);
	fst3fs_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(verdicts, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_file_shorter_than_the_length, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_long_header_takes_a_second_read, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_batch_reports_the_first_failure_and_keeps_the_rest, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

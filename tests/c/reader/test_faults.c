/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller gets when the far side fails, hangs, lies or is gone: an error, nothing in flight, and a reader that
 * works. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#define KIB 1024ull

static int64_t read_all(struct fst3fs_reader *r, const char *path, uint8_t *to, int64_t length,
			struct fst3fs_error *err)
{
	return fst3fs_read(r, path, (uint64_t)(uintptr_t)to, 0, length, 0, 0, err);
}

static void check_works(struct fst3fs_reader *r, const char *path, unsigned salt, int64_t size)
{
	uint8_t *to = malloc((size_t)size);

	assert_int_equal(read_all(r, path, to, size, NULL), size);
	fixture_check(to, salt, 0, (uint64_t)size);
	free(to);
}

static void every_request_in_turn_fails(void **state)
{
	const char *path = fixture_file("data", 1, 40000);
	static const int codes[] = {-EREMOTEIO, -ENODATA, -EBADF, 0};

	(void)state;
	for (unsigned nth = 1; nth <= 10; nth++) {
		for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
			const struct io_fault_config config = {
				.seed = nth, .max_delay_us = 50, .fail_nth = nth, .fail_code = codes[c]};
			struct fst3fs_reader *r = fixture_reader(&config, 16 * KIB, 4, 10000);
			struct fst3fs_error err;
			uint8_t to[40000];

			assert_int_equal(read_all(r, path, to, 40000, &err), codes[c] ? codes[c] : -EIO);
			assert_int_equal(atomic_load(&io_fault_in_flight), 0);
			assert_string_equal(err.path, path);
			assert_int_equal(err.offset, (nth - 1) * 4096);
			assert_int_equal(err.kind, FST3FS_ERROR_SYSTEM);
			check_works(r, path, 1, 40000);
			fst3fs_close(r);
		}
	}
}

static void a_hung_request_ends_the_read_and_not_the_reader(void **state)
{
	const char *path = fixture_file("data", 2, 40000);
	struct io_fault_config config = {.hang_nth = 5, .hold = true};
	struct fst3fs_reader *r = fixture_reader(&config, 16 * KIB, 4, 300);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_error err;
	uint8_t to[40000];
	uint64_t before = fst3fs_now_ns(), took;

	(void)state;
	assert_int_equal(read_all(r, path, to, 40000, &err), -ETIMEDOUT);
	took = fst3fs_now_ns() - before;
	assert_true(took >= 290 * FST3FS_NS_PER_MS);
	assert_string_equal(err.path, path);
	fst3fs_get_info(r, &info);
	assert_int_equal(info.given_up, 1);
	check_works(r, path, 2, 40000);
	/* The answer that comes late lands in the old buffer, whatever the new one is being used for. */
	atomic_store(&io_fault_config.hold, false);
	for (int i = 0; i < 20; i++)
		check_works(r, path, 2, 40000);
	fst3fs_close(r);
}

static void memory_with_a_hung_request_is_not_used_again(void **state)
{
	const char *path = fixture_file("data", 2, 40000);
	struct io_fault_config config = {.hang_nth = 3, .hold = true};
	struct fst3fs_reader *r = fixture_reader(&config, 16 * KIB, 4, 200);
	struct fst3fs_memory *m, *other;
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_alloc(r, 40000, &m, NULL), 0);
	assert_int_equal(fst3fs_alloc(r, 40000, &other, NULL), 0);
	assert_int_equal(read_all(r, path, fst3fs_memory_address(m), 40000, NULL), -ETIMEDOUT);
	assert_int_equal(read_all(r, path, fst3fs_memory_address(m), 40000, &err), -EIO);
	assert_non_null(strstr(err.text, "given up"));
	assert_int_equal(read_all(r, path, fst3fs_memory_address(other), 40000, NULL), 40000);
	fixture_check(fst3fs_memory_address(other), 2, 0, 40000);
	fst3fs_memory_free(m);
	fst3fs_memory_free(other);
	fst3fs_close(r);
}

static void a_peer_that_is_gone_is_noticed_before_the_time_out(void **state)
{
	const char *path = fixture_file("data", 3, 40000);
	struct io_fault_config config = {.hang_nth = 5, .hold = true, .probe_code = -ENOTCONN};
	struct fst3fs_reader *r = fixture_reader(&config, 16 * KIB, 4, 60000);
	struct fst3fs_error err;
	uint8_t to[40000];

	(void)state;
	assert_int_equal(read_all(r, path, to, 40000, &err), -ENOTCONN);
	assert_string_equal(err.path, path);
	fst3fs_close(r);
}

static void a_peer_that_writes_nonsense_is_given_up(void **state)
{
	const char *path = fixture_file("data", 3, 40000);
	struct io_fault_config config = {.broken_nth = 4};
	struct fst3fs_reader *r = fixture_reader(&config, 16 * KIB, 4, 10000);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_error err;
	uint8_t to[40000];

	(void)state;
	assert_int_equal(read_all(r, path, to, 40000, &err), -EPROTO);
	fst3fs_get_info(r, &info);
	assert_int_equal(info.given_up, 1);
	io_fault_config.broken_nth = 0;
	check_works(r, path, 3, 40000);
	fst3fs_close(r);
}

static void nonsense_behind_the_last_answer_spoils_no_read(void **state)
{
	/* As many as are collected at a time, so that it is looked for more when nothing is in flight; and into memory
	 * that takes them without a copy, so that nothing is to be done for them any more. */
	enum { TOGETHER = 64 };
	const uint64_t bytes = TOGETHER * 4 * KIB;
	const char *path = fixture_file("data", 5, bytes);
	struct io_fault_config config = {.broken_behind = TOGETHER};
	struct fst3fs_reader *r = fixture_reader(&config, 128 * KIB * KIB, TOGETHER, 10000);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_memory *m;
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_alloc(r, bytes, &m, &err), 0);
	assert_int_equal(fst3fs_read(r, path, (uintptr_t)fst3fs_memory_address(m), 0, (int64_t)bytes, 4 * KIB, 0, &err),
			 bytes);
	fixture_check(fst3fs_memory_address(m), 5, 0, bytes);
	fst3fs_get_info(r, &info);
	assert_int_equal(info.bytes_direct, bytes);
	assert_int_equal(info.given_up, 1);
	io_fault_config.broken_behind = 0;
	check_works(r, path, 5, bytes);
	fst3fs_memory_free(m);
	fst3fs_close(r);
}

static int say_stop(void *ctx)
{
	return ++*(int *)ctx >= 2;
}

static void an_interrupted_read_ends(void **state)
{
	const char *path = fixture_file("data", 4, 40000);
	struct io_fault_config config = {.hang_nth = 5, .hold = true};
	struct fst3fs_options o;
	struct fst3fs_reader *r;
	struct fst3fs_error err;
	uint8_t to[40000];
	int asked = 0;

	(void)state;
	fst3fs_options_init(&o);
	o.buffer_size = 16 * KIB;
	o.entries = 4;
	o.interrupted = say_stop;
	o.interrupted_ctx = &asked;
	r = fixture_reader_with(&config, &o);
	assert_int_equal(read_all(r, path, to, 40000, &err), -EINTR);
	assert_true(asked >= 2);
	asked = -1000000;
	check_works(r, path, 4, 40000);
	fst3fs_close(r);
}

static void bad_arguments_are_named(void **state)
{
	const char *path = fixture_file("data", 4, 10);
	struct fst3fs_reader *r = fixture_reader(&(struct io_fault_config){0}, 16 * KIB, 4, 10000);
	struct fst3fs_options o;
	struct fst3fs_reader *none = NULL;
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_read(r, path, 0, -1, 10, 0, 0, &err), -EINVAL);
	assert_int_equal(err.kind, FST3FS_ERROR_VALUE);
	assert_string_equal(err.path, path);
	assert_int_equal(fst3fs_read(r, path, 0, 0, -1, 0, 0, &err), -EINVAL);
	assert_int_equal(fst3fs_read(r, path, 0, INT64_MAX, INT64_MAX, 0, 0, &err), -EINVAL);
	assert_int_equal(fst3fs_read(r, path, UINT64_MAX, 0, 2, 0, 0, &err), -EINVAL);
	assert_int_equal(fst3fs_read(r, path, 0, 0, 10, -1, 0, &err), -EINVAL);
	assert_int_equal(fst3fs_read(r, path, 0, 0, 10, 0, 8, &err), -EINVAL);
	assert_int_equal(fst3fs_read(r, path, 0, INT64_MAX - 10, 10, 0, 0, &err), 0); /* merely beyond the end */
	fst3fs_options_init(&o);
	o.entries = 0;
	assert_int_equal(fst3fs_open(&o, &none, &err), -EINVAL);
	fst3fs_options_init(&o);
	o.buffer_size = 0;
	assert_int_equal(fst3fs_open(&o, &none, &err), -EINVAL);
	o.buffer_size = UINT64_MAX;
	assert_int_equal(fst3fs_open(&o, &none, &err), -EINVAL);
	fst3fs_options_init(&o);
	o.mount_point = "/nonexistent/mount";
	assert_int_equal(fst3fs_open(&o, &none, &err), -ENOENT);
	assert_string_equal(err.path, "/nonexistent/mount");
	o.mount_point = "/tmp";
	o.require_usrbio = true;
	assert_int_equal(fst3fs_open(&o, &none, &err), -ENOTSUP);
	assert_null(none);
	fst3fs_close(r);
}

static void a_child_is_told_to_make_its_own(void **state)
{
	const char *path = fixture_file("data", 4, 1000);
	struct fst3fs_reader *r = fixture_reader(&(struct io_fault_config){0}, 16 * KIB, 4, 10000);
	struct fst3fs_error err;
	int status;
	pid_t pid;

	(void)state;
	check_works(r, path, 4, 1000);
	pid = fork();
	if (pid == 0) {
		bool told = fst3fs_read(r, path, 0, 0, 10, 0, 0, &err) == -ECHILD && err.kind == FST3FS_ERROR_STATE;

		fst3fs_release(r);
		fst3fs_close(r);
		_exit(told ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	check_works(r, path, 4, 1000);
	fst3fs_close(r);
}

static void a_file_replaced_under_its_name_is_noticed(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&(struct io_fault_config){0}, 16 * KIB, 4, 10000);
	const char *path = fixture_file("data", 4, 1000), *other = fixture_file("other", 5, 2000);

	(void)state;
	check_works(r, path, 4, 1000);
	assert_true(fst3fs_has_file(r, path));
	assert_int_equal(rename(other, path), 0);
	check_works(r, path, 5, 2000);
	fst3fs_release(r);
	assert_false(fst3fs_has_file(r, path));
	check_works(r, path, 5, 2000); /* takes what it needs again */
	fst3fs_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_request_in_turn_fails, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_hung_request_ends_the_read_and_not_the_reader, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(memory_with_a_hung_request_is_not_used_again, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_is_gone_is_noticed_before_the_time_out, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_writes_nonsense_is_given_up, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(nonsense_behind_the_last_answer_spoils_no_read, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(an_interrupted_read_ends, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(bad_arguments_are_named, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_child_is_told_to_make_its_own, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_file_replaced_under_its_name_is_noticed, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The window over a transport that shuffles, delays, refuses and serves several callers: every byte is checked. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static const struct io_fault_config shuffled = {.seed = 1, .max_delay_us = 60, .full_one_in = 5};

static void random_reads_are_exact(void **state)
{
	static const uint64_t buffers[] = {1, 4096, 20000, 100000, MIB};
	const uint64_t size = 700001;
	const char *path = fixture_file("data", 3, size);
	uint8_t *to = malloc(size + 64);
	unsigned seed = 11;

	(void)state;
	for (size_t b = 0; b < sizeof(buffers) / sizeof(buffers[0]); b++) {
		for (int entries = 1; entries <= 64; entries = entries * 3 + 1) {
			struct fst3fs_reader *r = fixture_reader(&shuffled, buffers[b], entries, 10000);

			for (int round = 0; round < 12; round++) {
				uint64_t offset = (uint64_t)rand_r(&seed) % (size + 10);
				uint64_t length = (uint64_t)rand_r(&seed) % (b < 2 ? 60000 : size);
				int64_t chunk = round % 3 ? (int64_t)(rand_r(&seed) % 30000 + 500) : 0;
				uint64_t there = offset >= size ? 0 : length < size - offset ? length : size - offset;
				unsigned flags = round % 4 == 3 ? FST3FS_READ_IN_TURN : 0;
				struct fst3fs_error err;

				memset(to, 0, size + 64);
				assert_int_equal(fst3fs_read(r, path, (uint64_t)(uintptr_t)to, (int64_t)offset,
							     (int64_t)length, chunk, flags, &err),
						 there);
				fixture_check(to, 3, offset, there);
				for (int i = 0; i < 64; i++)
					assert_int_equal(to[there + (uint64_t)i], 0); /* not a byte more */
				assert_int_equal(atomic_load(&io_fault_in_flight), 0);
			}
			fst3fs_close(r);
		}
	}
	free(to);
}

static void window_is_full_and_no_fuller(void **state)
{
	const struct io_fault_config slow = {.seed = 2, .max_delay_us = 300};
	const char *path = fixture_file("data", 4, 4 * MIB);

	(void)state;
	for (int entries = 1; entries <= 16; entries *= 4) {
		struct fst3fs_reader *r = fixture_reader(&slow, 16 * 4096, entries, 10000);

		assert_int_equal(fst3fs_read(r, path, 0, 0, 4 * MIB, 0, 0, NULL), 4 * MIB);
		assert_int_equal(atomic_load(&io_fault_most), entries);
		fst3fs_close(r);
	}
}

static void many_ranges_in_one_go(void **state)
{
	enum { FILES = 12, RANGES = 200 };
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 16, 10000);
	struct fst3fs_request q[RANGES];
	char paths[FILES][160];
	unsigned seed = 5;

	(void)state;
	for (int i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		snprintf(paths[i], sizeof(paths[i]), "%s", fixture_file(name, (unsigned)i, (uint64_t)i * 9001));
	}
	for (int i = 0; i < RANGES; i++) {
		uint64_t length = (uint64_t)rand_r(&seed) % 50000;

		q[i] = (struct fst3fs_request){
			.path = paths[i % FILES],
			.dst = (uint64_t)(uintptr_t)malloc(length + 1),
			.offset = rand_r(&seed) % 60000,
			.length = (int64_t)length,
		};
	}
	assert_int_equal(fst3fs_read_many(r, q, RANGES, 0, 0, NULL), 0);
	for (int i = 0; i < RANGES; i++) {
		int64_t left = (int64_t)(i % FILES) * 9001 - q[i].offset;

		assert_int_equal(q[i].result, left < 0 ? 0 : left < q[i].length ? left : q[i].length);
		fixture_check((uint8_t *)(uintptr_t)q[i].dst, (unsigned)(i % FILES), (uint64_t)q[i].offset,
			      (uint64_t)q[i].result);
		free((void *)(uintptr_t)q[i].dst);
	}
	fst3fs_close(r);
}

static void failing_ranges_leave_the_others_whole(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 16, 10000);
	const char *good = fixture_file("good", 1, 300000);
	uint8_t *a = malloc(300000), *b = malloc(300000);
	struct fst3fs_request q[] = {
		{.path = good, .dst = (uint64_t)(uintptr_t)a, .length = 300000},
		{.path = "/nonexistent/one", .length = 10},
		{.path = "/tmp", .length = 10},
		{.path = good, .dst = (uint64_t)(uintptr_t)b, .length = 300000},
	};
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_read_many(r, q, 4, 0, 0, &err), -ENOENT);
	assert_int_equal(err.index, 1);
	assert_string_equal(err.path, "/nonexistent/one");
	assert_int_equal(q[0].result, 300000);
	assert_int_equal(q[1].result, -ENOENT);
	assert_int_equal(q[2].result, -EISDIR);
	assert_int_equal(q[3].result, 300000);
	fixture_check(a, 1, 0, 300000);
	fixture_check(b, 1, 0, 300000);
	free(a);
	free(b);
	fst3fs_close(r);
}

struct thread {
	struct fst3fs_reader *r;
	const char *path;
	uint64_t size;
	unsigned seed;
	int wrong;
};

static void *read_at_random(void *arg)
{
	struct thread *t = arg;
	uint8_t *to = malloc(t->size);

	for (int round = 0; round < 40; round++) {
		uint64_t offset = (uint64_t)rand_r(&t->seed) % t->size;
		uint64_t length = (uint64_t)rand_r(&t->seed) % (t->size - offset);
		unsigned flags = rand_r(&t->seed) % 8 == 0 ? FST3FS_READ_IN_TURN : 0;
		int64_t n = fst3fs_read(t->r, t->path, (uint64_t)(uintptr_t)to, (int64_t)offset, (int64_t)length, 0,
					flags, NULL);

		t->wrong += n != (int64_t)length;
		for (uint64_t i = 0; i < length; i++)
			t->wrong += to[i] != fixture_byte(9, offset + i);
	}
	free(to);
	return NULL;
}

static void threads_share_one_reader(void **state)
{
	enum { THREADS = 6 };
	struct fst3fs_reader *r = fixture_reader(&shuffled, 32 * KIB, 8, 10000);
	const char *path = fixture_file("shared", 9, 90001);
	struct thread threads[THREADS];
	pthread_t ids[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){.r = r, .path = path, .size = 90001, .seed = (unsigned)i};
		assert_int_equal(pthread_create(&ids[i], NULL, read_at_random, &threads[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(ids[i], NULL);
		assert_int_equal(threads[i].wrong, 0);
	}
	fst3fs_close(r);
}

static void own_buffer_and_own_memory_take_no_copy(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 256 * KIB, 8, 10000);
	const char *path = fixture_file("data", 6, 500000);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_memory *m;
	uint64_t base, at;

	(void)state;
	assert_int_equal(fst3fs_get_info(r, &info), 0);
	base = (uint64_t)(uintptr_t)info.iov_base;
	assert_int_equal(fst3fs_read(r, path, base + 77, 1000, 200000, 0, 0, NULL), 200000);
	fixture_check((uint8_t *)(uintptr_t)base + 77, 6, 1000, 200000);
	assert_int_equal(fst3fs_read(r, path, base + 100000, 0, 200000, 0, 0, NULL), -EINVAL); /* beyond its end */

	assert_int_equal(fst3fs_alloc(r, 400001, &m, NULL), 0);
	at = (uint64_t)(uintptr_t)fst3fs_memory_address(m);
	assert_int_equal(at % 4096, 0);
	assert_int_equal(fst3fs_memory_size(m), 400001);
	assert_int_equal(fst3fs_read(r, path, at + 1, 3, 400000, 0, 0, NULL), 400000);
	fixture_check((uint8_t *)(uintptr_t)at + 1, 6, 3, 400000);
	assert_int_equal(fst3fs_get_info(r, &info), 0);
	assert_int_equal(info.bytes_direct, 600000);
	assert_int_equal(info.bytes, 600000);
	assert_string_equal(info.devices, "");
	fst3fs_close(r);
	fixture_check((uint8_t *)(uintptr_t)at + 1, 6, 3, 400000); /* outlives its reader */
	fst3fs_memory_free(m);
}

static void files_off_the_mount_go_through_the_system(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 8, 10000);
	const char *here = fixture_file("data", 6, 5000);
	struct fst3fs_info info = {.size = sizeof(info)};
	uint8_t bytes[16];
	struct fst3fs_request q[] = {
		{.path = "/proc/self/exe", .dst = (uint64_t)(uintptr_t)bytes, .length = 4},
		{.path = here, .length = 5000},
	};

	(void)state;
	assert_int_equal(fst3fs_read_many(r, q, 2, 0, 0, NULL), 0);
	assert_memory_equal(bytes, "\177ELF", 4);
	fst3fs_get_info(r, &info);
	assert_string_equal(info.transport, "fault");
	assert_string_equal(info.devices, "host");
	assert_int_equal(info.bytes, 5004);
	fst3fs_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_reads_are_exact, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(window_is_full_and_no_fuller, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(many_ranges_in_one_go, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(failing_ranges_leave_the_others_whole, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(threads_share_one_reader, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(own_buffer_and_own_memory_take_no_copy, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(files_off_the_mount_go_through_the_system, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges in the background, over a transport that shuffles, fails and hangs: what is waited for, and how it ends. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB 1024ull
enum { SIZE = 300000, RANGES = 60 };

static const struct io_fault_config shuffled = {.seed = 5, .max_delay_us = 200, .full_one_in = 7};

static uint8_t memory[RANGES][SIZE / RANGES + 64];

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* Neighbouring ranges of one file, backwards, each to a place of its own with a margin that must stay untouched. */
static void neighbours(struct fst3fs_request *q, const char *path, uint64_t step)
{
	memset(memory, 0xa5, sizeof(memory));
	for (int i = 0; i < RANGES; i++)
		q[i] = (struct fst3fs_request){.path = path,
					       .dst = address(memory[RANGES - 1 - i]),
					       .offset = (int64_t)(step * (uint64_t)(RANGES - 1 - i)),
					       .length = (int64_t)(step - step / 4)};
}

static void check_range(const struct fst3fs_request *q, unsigned salt, uint64_t there)
{
	const uint8_t *bytes = (const uint8_t *)(uintptr_t)q->dst;

	fixture_check(bytes, salt, (uint64_t)q->offset, there);
	for (int i = 0; i < 64; i++)
		assert_int_equal(bytes[there + (uint64_t)i], 0xa5);
}

static void every_range_arrives_and_neighbours_share_requests(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_request q[RANGES];
	struct fst3fs_batch *b;
	struct fst3fs_error err;

	(void)state;
	neighbours(q, path, SIZE / RANGES);
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 0, &b, &err), 0);
	for (size_t i = 0; i < RANGES; i += 7)
		assert_int_equal(fst3fs_batch_wait(b, i, &err), q[i].length);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	assert_int_equal(atomic_load(&io_fault_in_flight), 0);
	for (int i = 0; i < RANGES; i++)
		check_range(&q[i], 1, (uint64_t)q[i].length);
	fst3fs_get_info(r, &info);
	assert_int_equal(info.bytes, RANGES * q[0].length);
	assert_in_range(info.requests, 1, RANGES - 1); /* the last ones are small, so that they end together */
	fst3fs_close(r);
}

static void a_range_is_there_while_others_are_not(void **state)
{
	const struct io_fault_config config = {.hang_nth = 2, .hold = true};
	struct fst3fs_reader *r = fixture_reader(&config, 64 * KIB, 2, 60000);
	const char *a = fixture_file("a", 1, 4000), *z = fixture_file("z", 2, 4000);
	struct fst3fs_request q[] = {{.path = a, .dst = address(memory[0]), .length = 4000},
				     {.path = z, .dst = address(memory[1]), .length = 4000}};
	struct fst3fs_batch *b;
	struct fst3fs_error err;
	size_t first;

	(void)state;
	assert_int_equal(fst3fs_start_many(r, q, 2, 0, &b, &err), 0);
	/* Files are opened side by side: either may come first. */
	while (!fst3fs_batch_is_ready(b, 0) && !fst3fs_batch_is_ready(b, 1))
		usleep(1000);
	first = fst3fs_batch_is_ready(b, 0) ? 0 : 1;
	assert_int_equal(fst3fs_batch_wait(b, first, &err), 4000);
	fixture_check(memory[first], (unsigned)first + 1, 0, 4000);
	assert_false(fst3fs_batch_is_ready(b, 1 - first));
	atomic_store(&io_fault_config.hold, false);
	assert_int_equal(fst3fs_batch_wait(b, 1 - first, &err), 4000);
	fixture_check(memory[1 - first], 2 - (unsigned)first, 0, 4000);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	fst3fs_close(r);
}

static void a_range_that_fails_does_not_stop_the_others(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, 4000);
	struct fst3fs_request q[] = {{.path = path, .dst = address(memory[0]), .length = 4000},
				     {.path = "/nowhere/at/all", .dst = address(memory[1]), .length = 10},
				     {.path = path, .dst = address(memory[2]), .offset = 3990, .length = 100},
				     {.path = path, .dst = address(memory[3]), .offset = 5000, .length = 100}};
	struct fst3fs_batch *b;
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_start_many(r, q, 4, 0, &b, &err), 0);
	assert_int_equal(fst3fs_batch_wait(b, 1, &err), -ENOENT);
	assert_string_equal(err.path, "/nowhere/at/all");
	assert_int_equal(err.index, 1);
	assert_int_equal(fst3fs_batch_wait(b, 0, &err), 4000);
	assert_int_equal(fst3fs_batch_wait(b, 2, &err), 10); /* the end of the file */
	assert_int_equal(fst3fs_batch_wait(b, 3, &err), 0);
	assert_int_equal(fst3fs_batch_wait(b, 4, &err), -EINVAL);
	assert_int_equal(fst3fs_batch_finish(b, &err), -ENOENT);
	assert_int_equal(err.index, 1);
	fixture_check(memory[0], 1, 0, 4000);
	fixture_check(memory[2], 1, 3990, 10);
	fst3fs_close(r);
}

static void each_range_has_the_error_of_its_own_file(void **state)
{
	static const char *const nowhere[] = {"/nowhere/a", "/nowhere/b", "/nowhere/c"};
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	struct fst3fs_request q[3];
	struct fst3fs_batch *b;
	struct fst3fs_error err;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		q[i] = (struct fst3fs_request){.path = nowhere[i], .dst = address(memory[i]), .length = 10};
	assert_int_equal(fst3fs_start_many(r, q, 3, 0, &b, &err), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(fst3fs_batch_wait(b, i, &err), -ENOENT);
		assert_string_equal(err.path, nowhere[i]);
		assert_int_equal(err.index, i);
	}
	assert_int_equal(fst3fs_batch_finish(b, &err), -ENOENT);
	fst3fs_close(r);
}

static void ranges_may_overlap(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_request q[RANGES];
	struct fst3fs_batch *b;
	struct fst3fs_error err;
	unsigned seed = 3;

	(void)state;
	memset(memory, 0xa5, sizeof(memory));
	for (int i = 0; i < RANGES; i++)
		q[i] = (struct fst3fs_request){.path = path,
					       .dst = address(memory[i]),
					       .offset = rand_r(&seed) % 9000,
					       .length = rand_r(&seed) % 5000};
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 3000, &b, &err), 0);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	for (int i = 0; i < RANGES; i++)
		check_range(&q[i], 1, (uint64_t)q[i].length);
	fst3fs_close(r);
}

static void memory_of_the_reader_is_read_to_directly(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_request q[RANGES];
	struct fst3fs_memory *m;
	struct fst3fs_batch *b;
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_alloc(r, SIZE, &m, &err), 0);
	for (int i = 0; i < RANGES; i++)
		q[i] = (struct fst3fs_request){.path = path,
					       .dst = address(fst3fs_memory_address(m)) + (uint64_t)i * (SIZE / RANGES),
					       .offset = i * (SIZE / RANGES),
					       .length = SIZE / RANGES};
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 0, &b, &err), 0);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	fixture_check(fst3fs_memory_address(m), 1, 0, SIZE);
	fst3fs_get_info(r, &info);
	assert_int_equal(info.bytes_direct, SIZE);
	fst3fs_memory_free(m);
	fst3fs_close(r);
}

static void cancelled_nothing_is_in_flight(void **state)
{
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_error err;

	(void)state;
	for (unsigned delay = 0; delay < 3000; delay += 250) {
		struct fst3fs_reader *r = fixture_reader(&shuffled, 16 * KIB, 4, 10000);
		struct fst3fs_request q[RANGES];
		struct fst3fs_batch *b;

		neighbours(q, path, SIZE / RANGES);
		assert_int_equal(fst3fs_start_many(r, q, RANGES, 1000, &b, &err), 0);
		usleep(delay);
		fst3fs_batch_cancel(b);
		assert_int_equal(atomic_load(&io_fault_in_flight), 0);
		memset(memory, 0, sizeof(memory)); /* ours again: nobody writes there */
		usleep(300);
		for (size_t i = 0; i < sizeof(memory); i++)
			assert_int_equal(((uint8_t *)memory)[i], 0);
		assert_int_equal(fst3fs_read(r, path, 0, 0, SIZE, 0, 0, &err), SIZE);
		fst3fs_close(r);
	}
	fst3fs_batch_cancel(NULL);
}

static void a_transport_that_hangs_times_out(void **state)
{
	const struct io_fault_config config = {.hang_nth = 3, .hold = true};
	struct fst3fs_reader *r = fixture_reader(&config, 64 * KIB, 4, 300);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_request q[RANGES];
	struct fst3fs_batch *b;
	struct fst3fs_error err;

	(void)state;
	neighbours(q, path, SIZE / RANGES);
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 0, &b, &err), 0);
	assert_int_equal(fst3fs_batch_finish(b, &err), -ETIMEDOUT);
	assert_string_equal(err.path, path);
	fst3fs_get_info(r, &info);
	assert_int_equal(info.given_up, 1);
	fst3fs_close(r);
}

static int says_stop(void *ctx)
{
	return *(atomic_bool *)ctx;
}

static void who_waits_can_be_interrupted_and_the_batch_goes_on(void **state)
{
	const struct io_fault_config config = {.hang_nth = 1, .hold = true};
	const char *path = fixture_file("data", 1, 4000);
	struct fst3fs_request q = {.path = path, .dst = address(memory[0]), .length = 4000};
	atomic_bool stop = true;
	struct fst3fs_options o;
	struct fst3fs_reader *r;
	struct fst3fs_batch *b;
	struct fst3fs_error err;

	(void)state;
	fst3fs_options_init(&o);
	o.buffer_size = 64 * KIB;
	o.interrupted = says_stop;
	o.interrupted_ctx = &stop;
	stop = false;
	r = fixture_reader_with(&config, &o);
	assert_int_equal(fst3fs_start_many(r, &q, 1, 0, &b, &err), 0);
	stop = true;
	assert_int_equal(fst3fs_batch_wait(b, 0, &err), -EINTR);
	atomic_store(&io_fault_config.hold, false);
	stop = false;
	assert_int_equal(fst3fs_batch_wait(b, 0, &err), 4000);
	fixture_check(memory[0], 1, 0, 4000);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	fst3fs_close(r);
}

static void bad_ranges_are_refused_before_anything_is_read(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, 4000);
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_batch *b = NULL;
	struct fst3fs_error err;

	(void)state;
	fst3fs_get_info(r, &info);
	for (int kind = 0; kind < 3; kind++) {
		struct fst3fs_request q[] = {{.path = path, .length = 10}, {.path = path, .length = 10}};

		if (kind == 0)
			q[1].offset = -1;
		else if (kind == 1)
			q[1].length = -1;
		else
			q[1].dst = address(info.iov_base);
		assert_int_equal(fst3fs_start_many(r, q, 2, 0, &b, &err), -EINVAL);
		assert_int_equal(err.kind, FST3FS_ERROR_VALUE);
	}
	assert_null(b);
	assert_int_equal(fst3fs_start_many(r, NULL, 0, -1, &b, &err), -EINVAL);
	assert_int_equal(fst3fs_start_many(r, NULL, 0, 0, &b, &err), 0);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	fst3fs_close(r);
}

static void in_a_child_it_belongs_to_the_parent(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 64 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, 4000);
	struct fst3fs_request q = {.path = path, .dst = address(memory[0]), .length = 4000};
	struct fst3fs_batch *b, *none;
	struct fst3fs_error err;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(fst3fs_start_many(r, &q, 1, 0, &b, &err), 0);
	/* As if another thread had been in the engine when the process forked. */
	pthread_mutex_lock(&r->engine.lock);
	pid = fork();
	if (pid == 0) {
		alarm(10);
		_exit(fst3fs_batch_wait(b, 0, &err) == -ECHILD && fst3fs_batch_is_ready(b, 0) &&
				      fst3fs_start_many(r, &q, 1, 0, &none, &err) == -ECHILD
			      ? 0
			      : 1);
	}
	pthread_mutex_unlock(&r->engine.lock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	fst3fs_close(r);
}

struct many {
	struct fst3fs_batch *batch;
	size_t first;
};

static void *wait_for_some(void *arg)
{
	const struct many *m = arg;

	for (size_t i = m->first; i < RANGES; i += 4)
		if (fst3fs_batch_wait(m->batch, i, NULL) <= 0)
			return arg;
	return NULL;
}

static void many_threads_wait(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&shuffled, 16 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_request q[RANGES];
	struct many many[4];
	pthread_t threads[4];
	struct fst3fs_batch *b;
	struct fst3fs_error err;
	void *failed;

	(void)state;
	neighbours(q, path, SIZE / RANGES);
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 0, &b, &err), 0);
	for (size_t i = 0; i < 4; i++) {
		many[i] = (struct many){b, i};
		pthread_create(&threads[i], NULL, wait_for_some, &many[i]);
	}
	/* Meanwhile the reader serves others. */
	assert_int_equal(fst3fs_read(r, path, 0, 0, SIZE, 0, 0, &err), SIZE);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(fst3fs_batch_finish(b, &err), 0);
	fst3fs_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_range_arrives_and_neighbours_share_requests, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_range_is_there_while_others_are_not, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_range_that_fails_does_not_stop_the_others, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(each_range_has_the_error_of_its_own_file, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(ranges_may_overlap, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(memory_of_the_reader_is_read_to_directly, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(cancelled_nothing_is_in_flight, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_transport_that_hangs_times_out, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(who_waits_can_be_interrupted_and_the_batch_goes_on, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(bad_ranges_are_refused_before_anything_is_read, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(in_a_child_it_belongs_to_the_parent, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(many_threads_wait, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

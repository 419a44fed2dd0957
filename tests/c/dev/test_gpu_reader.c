/* SPDX-License-Identifier: Apache-2.0 */
/* The whole reader into GPU memory, over the fake driver: what the sanitizers should see run together. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda_fixture.h"

enum { SIZE = 3 * STAGING + 4567, BUFFER = STAGING / 2, THREADS = 4, ROUNDS = 3 };

static char path[] = "/tmp/fst3fs-gpu-XXXXXX";
static uint8_t data[SIZE];

struct lines {
	int count;
	char last[1024];
};

static void on_log(void *ctx, int level, const char *line)
{
	struct lines *lines = ctx;

	if (level < FST3FS_LOG_WARNING || !strstr(line, "page-locked"))
		return;
	lines->count++;
	memcpy(lines->last, line, strnlen(line, sizeof(lines->last) - 1));
}

static struct fst3fs_reader *open_reader(struct lines *lines)
{
	struct fst3fs_reader *r = NULL;
	struct fst3fs_options o;

	fst3fs_options_init(&o);
	o.buffer_size = BUFFER;
	o.log = lines ? on_log : NULL;
	o.log_ctx = lines;
	assert_int_equal(fst3fs_open(&o, &r, NULL), 0);
	return r;
}

static int64_t read_all(struct fst3fs_reader *r, CUdeviceptr dst, unsigned flags, struct fst3fs_error *err)
{
	return fst3fs_read(r, path, dst, 0, SIZE, 0, flags, err);
}

static void check_bytes(struct fixture *fx, int device, CUdeviceptr dst)
{
	uint8_t *back = malloc(SIZE);

	device_read(fx->primary[device], dst, back, SIZE);
	assert_memory_equal(back, data, SIZE);
	free(back);
}

static int page_locked(struct fst3fs_reader *r)
{
	struct fst3fs_info info = {.size = sizeof(info)};

	do
		assert_int_equal(fst3fs_get_info(r, &info), 0);
	while (info.page_locked < 0);
	return info.page_locked;
}

/* ------------------------------------------------------------------ threads */

struct work {
	struct fixture *fx;
	struct fst3fs_reader *reader;
	int device;
};

static void *work_thread(void *arg)
{
	struct work *w = arg;
	CUdeviceptr dst = device_alloc(w->fx, w->device, SIZE);

	for (unsigned round = 0; round < ROUNDS; round++) {
		assert_int_equal(read_all(w->reader, dst, round % 2 ? FST3FS_READ_IN_TURN : 0, NULL), SIZE);
		check_bytes(w->fx, w->device, dst);
	}
	cuMemFree_v2(dst);
	return NULL;
}

static void threads_and_gpus_share_a_reader(void **state)
{
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_reader *r = open_reader(NULL);
	pthread_t threads[THREADS];
	struct work works[THREADS];

	for (int i = 0; i < THREADS; i++) {
		works[i] = (struct work){.fx = *state, .reader = r, .device = i % 2};
		pthread_create(&threads[i], NULL, work_thread, &works[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(page_locked(r), 1);
	fst3fs_get_info(r, &info);
	assert_non_null(strstr(info.devices, "cuda:0"));
	assert_non_null(strstr(info.devices, "cuda:1"));
	fst3fs_close(r);
}

/* ------------------------------------------------------------------ one request, many destinations */

enum { SMALL = 1001, RANGES = (SIZE - 5) / SMALL };

/* Ranges that lie side by side in the file, each to device memory of its own. */
static void to_memory_of_their_own(struct fixture *fx, struct fst3fs_request *q)
{
	for (size_t i = 0; i < RANGES; i++)
		q[i] = (struct fst3fs_request){.path = path,
					       .dst = device_alloc(fx, 0, SMALL) + 1,
					       .offset = (int64_t)(i * SMALL),
					       .length = SMALL - 1};
}

static void check_and_free(struct fixture *fx, const struct fst3fs_request *q)
{
	uint8_t back[SMALL];

	for (size_t i = 0; i < RANGES; i++) {
		device_read(fx->primary[0], q[i].dst, back, SMALL - 1);
		assert_memory_equal(back, data + q[i].offset, SMALL - 1);
		assert_int_equal(cuMemFree_v2(q[i].dst - 1), 0);
	}
}

static void small_destinations_share_requests_events_and_wake_ups(void **state)
{
	struct fst3fs_request *q = calloc(RANGES, sizeof(*q));
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fixture *fx = *state;
	struct fst3fs_reader *r = open_reader(NULL);
	int copies, records, looks;
	struct fst3fs_batch *b;

	to_memory_of_their_own(fx, q);
	copies = fake_cuda_calls("cuMemcpyHtoDAsync_v2");
	records = fake_cuda_calls("cuEventRecord");
	looks = fake_cuda_calls("cuPointerGetAttributes");
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 0, &b, &fx->err), 0);
	assert_int_equal(fst3fs_batch_finish(b, &fx->err), 0);
	fst3fs_get_info(r, &info);
	assert_string_equal(info.devices, "cuda:0");
	assert_in_range(info.requests, 1, RANGES / 10);
	/* One copy for each part; everything else once for each request, and for each of the first few. */
	assert_in_range(fake_cuda_calls("cuMemcpyHtoDAsync_v2") - copies, RANGES, RANGES + info.requests);
	assert_in_range(fake_cuda_calls("cuEventRecord") - records, info.requests, info.requests + 8);
	assert_in_range(fake_cuda_calls("cuPointerGetAttributes") - looks, RANGES, RANGES + 2 * info.requests);
	check_and_free(fx, q);
	fst3fs_close(r);
	free(q);
}

static void a_part_that_fails_takes_nothing_else_with_it(void **state)
{
	struct fst3fs_request *q = calloc(RANGES, sizeof(*q));
	struct fixture *fx = *state;
	struct fst3fs_reader *r = open_reader(NULL);
	struct fst3fs_batch *b;

	to_memory_of_their_own(fx, q);
	fake_cuda_fail("cuMemcpyHtoDAsync_v2:40:CUDA_ERROR_INVALID_VALUE");
	assert_int_equal(fst3fs_start_many(r, q, RANGES, 0, &b, &fx->err), 0);
	assert_true(fst3fs_batch_finish(b, &fx->err) < 0);
	assert_int_equal(fx->err.kind, FST3FS_ERROR_DEVICE);
	assert_non_null(strstr(fx->err.text, "CUDA_ERROR_INVALID_VALUE"));
	fake_cuda_fail(NULL);
	assert_int_equal(fst3fs_read_many(r, q, RANGES, 0, 0, &fx->err), 0);
	check_and_free(fx, q);
	fst3fs_close(r);
	free(q);
}

static void destinations_on_two_devices_are_refused(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_reader *r = open_reader(NULL);
	CUdeviceptr gpu = device_alloc(fx, 0, SMALL);
	uint8_t host[SMALL];
	struct fst3fs_request q[] = {
		{.path = path, .dst = gpu, .length = SMALL},
		{.path = path, .dst = (uint64_t)(uintptr_t)host, .offset = SMALL, .length = SMALL}};
	struct fst3fs_batch *b;

	assert_int_equal(fst3fs_start_many(r, q, 2, 0, &b, &fx->err), 0);
	assert_int_equal(fst3fs_batch_finish(b, &fx->err), -EINVAL);
	assert_non_null(strstr(fx->err.text, "one device"));
	fst3fs_close(r);
	cuMemFree_v2(gpu);
}

/* ------------------------------------------------------------------ faults */

static void a_failing_call_ends_the_read_and_not_the_reader(void **state)
{
	static const char *const specs[] = {"cuMemcpyHtoDAsync_v2:3:CUDA_ERROR_ILLEGAL_ADDRESS",
					    "copy:4:CUDA_ERROR_ECC_UNCORRECTABLE",
					    "cuEventQuery:2:CUDA_ERROR_LAUNCH_FAILED"};
	struct fixture *fx = *state;
	struct fst3fs_reader *r = open_reader(NULL);
	CUdeviceptr dst = device_alloc(fx, 0, SIZE);

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		fake_cuda_fail(specs[i]);
		assert_true(read_all(r, dst, 0, &fx->err) < 0);
		fake_cuda_fail(NULL);
		fake_cuda_heal();
		assert_int_equal(fx->err.kind, FST3FS_ERROR_DEVICE);
		assert_non_null(strstr(fx->err.text, strrchr(specs[i], ':') + 1));
		assert_string_equal(fx->err.path, path);
		assert_int_equal(read_all(r, dst, 0, NULL), SIZE);
		check_bytes(fx, 0, dst);
	}
	fst3fs_close(r);
	cuMemFree_v2(dst);
}

static void one_line_tells_that_page_locking_was_refused(void **state)
{
	struct fixture *fx = *state;
	struct lines lines = {0};
	struct fst3fs_reader *r = open_reader(&lines);
	CUdeviceptr dst = device_alloc(fx, 0, SIZE);

	fake_cuda_fail("cuMemHostRegister_v2:0:CUDA_ERROR_OUT_OF_MEMORY");
	assert_int_equal(read_all(r, dst, 0, NULL), SIZE);
	assert_int_equal(page_locked(r), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(read_all(r, dst, 0, NULL), SIZE);
	check_bytes(fx, 0, dst);
	fst3fs_close(r);
	assert_int_equal(lines.count, 1);
	assert_non_null(strstr(lines.last, "CUDA_ERROR_OUT_OF_MEMORY"));
	cuMemFree_v2(dst);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, SIZE), SIZE);
	return close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(threads_and_gpus_share_a_reader),
		TEST(small_destinations_share_requests_events_and_wake_ups),
		TEST(a_part_that_fails_takes_nothing_else_with_it),
		TEST(destinations_on_two_devices_are_refused),
		TEST(a_failing_call_ends_the_read_and_not_the_reader),
		TEST(one_line_tells_that_page_locking_was_refused),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}

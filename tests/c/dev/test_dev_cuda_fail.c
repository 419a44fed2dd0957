/* SPDX-License-Identifier: Apache-2.0 */
/* Every call of the driver fails once, at every place it is made from; a GPU that hangs; memory that goes away. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "cuda_fixture.h"

/* The engine looks every now and then without being woken: a broken context runs no host functions. */
enum { POLL_MS = 5 };

static uint8_t back[STAGING];

/* The calls whose failure must end a read, and what the message calls them. */
static const struct {
	const char *exported, *said;
} calls[] = {
	{"cuPointerGetAttributes", "cuPointerGetAttributes"},
	{"cuDeviceGet", "cuDeviceGet"},
	{"cuDevicePrimaryCtxGetState", "cuDevicePrimaryCtxGetState"},
	{"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRetain"},
	{"cuCtxPushCurrent_v2", "cuCtxPushCurrent"},
	{"cuStreamCreate", "cuStreamCreate"},
	{"cuEventCreate", "cuEventCreate"},
	{"cuEventRecord", "cuEventRecord"},
	{"cuStreamWaitEvent", "cuStreamWaitEvent"},
	{"cuMemcpyHtoDAsync_v2", "cuMemcpyHtoDAsync"},
	{"cuLaunchHostFunc", "cuLaunchHostFunc"},
	{"cuEventQuery", "cuEventQuery"},
	{"copy", "failed"},
};

/* Is `name` called by the thread that page-locks, where a failure is told and not fatal? */
static bool may_be_harmless(const char *name)
{
	return !strcmp(name, "cuDeviceGet") || !strcmp(name, "cuDevicePrimaryCtxGetState") ||
	       !strcmp(name, "cuDevicePrimaryCtxRetain") || !strcmp(name, "cuCtxPushCurrent_v2");
}

static int injections(void)
{
	struct fake_cuda_counts c;

	fake_cuda_counts(&c);
	return c.injected;
}

static void fail_once(struct fixture *fx, size_t call, int nth, const char *error)
{
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	struct fst3fs_dev *dev = open_dev(fx, 0);
	char spec[128];
	int before, rc;

	memset(&fx->err, 0, sizeof(fx->err));
	fill_staging(fx, (unsigned)nth);
	snprintf(spec, sizeof(spec), "%s:%d:%s", calls[call].exported, nth, error);
	assert_int_equal(fake_cuda_fail(spec), 0);
	before = injections();
	rc = whole_read(fx, dev, dst, POLL_MS);
	fake_cuda_fail(NULL);
	fake_cuda_heal();
	if (rc == 0) {
		/* A failure that did not fail the read (or that it never came to) has not cost it a byte. */
		assert_true(may_be_harmless(calls[call].exported) || injections() == before);
		device_read(fx->primary[0], dst, back, STAGING);
		assert_memory_equal(back, fx->config.staging, STAGING);
	} else {
		assert_int_equal(fx->err.kind, FST3FS_ERROR_DEVICE);
		assert_non_null(strstr(fx->err.text, calls[call].said));
		assert_non_null(strstr(fx->err.text, error));
	}
	/* The next read finds everything as it should be. */
	memset(&fx->err, 0, sizeof(fx->err));
	fill_staging(fx, (unsigned)nth + 100);
	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	device_read(fx->primary[0], dst, back, STAGING);
	assert_memory_equal(back, fx->config.staging, STAGING);
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void each_call_fails_in_turn(void **state)
{
	static const int nths[] = {1, 2, 3, 5, PIECES};

	fake_cuda_delay_us(50);
	for (size_t call = 0; call < sizeof(calls) / sizeof(calls[0]); call++)
		for (size_t i = 0; i < sizeof(nths) / sizeof(nths[0]); i++) {
			fail_once(*state, call, nths[i], "CUDA_ERROR_NOT_SUPPORTED");
			fail_once(*state, call, nths[i], "CUDA_ERROR_LAUNCH_FAILED");
		}
}

static void the_call_that_waits_fails(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);

	fake_cuda_fail("cuStreamSynchronize:1:CUDA_ERROR_ILLEGAL_ADDRESS");
	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
	assert_int_equal(start_piece(fx, dev, 0, dst, true), 0);
	assert_int_equal(collect(fx, dev, 1, POLL_MS), 1);
	assert_int_equal(fx->err.kind, FST3FS_ERROR_DEVICE);
	assert_non_null(strstr(fx->err.text, "cuStreamSynchronize failed: CUDA_ERROR_ILLEGAL_ADDRESS"));
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void a_broken_context_fails_everything_under_way(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);

	fake_cuda_delay_us(2000);
	fake_cuda_fail("copy:3:CUDA_ERROR_ILLEGAL_ADDRESS");
	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(start_piece(fx, dev, i, dst, false), 0);
	assert_in_range(collect(fx, dev, 8, POLL_MS), 6, 8);
	assert_non_null(strstr(fx->err.text, "CUDA_ERROR_ILLEGAL_ADDRESS"));
	/* It stays broken: no later read gets through, and none is said to have. */
	memset(&fx->err, 0, sizeof(fx->err));
	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), -EIO);
	assert_non_null(strstr(fx->err.text, "CUDA_ERROR_ILLEGAL_ADDRESS"));
	dev->ops->close(dev, false);
	fake_cuda_heal();
	cuMemFree_v2(dst);
}

static void a_refused_copy_leaves_the_others_alone(void **state)
{
	static const char *const refusals[] = {"cuMemcpyHtoDAsync_v2:1:CUDA_ERROR_INVALID_VALUE",
					       "cuCtxPushCurrent_v2:1:CUDA_ERROR_NOT_SUPPORTED"};
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);

	fake_cuda_delay_us(2000);
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
		wait_page_locked(dev); /* the thread that does it makes calls too */
		assert_int_equal(start_piece(fx, dev, 0, dst, false), 0);
		fake_cuda_fail(refusals[i]);
		assert_int_equal(start_piece(fx, dev, 1, dst, false), -EIO);
		fake_cuda_fail("cuEventRecord:1:CUDA_ERROR_NOT_SUPPORTED");
		assert_int_equal(dev->ops->begin(dev, dst, &fx->err), -EIO);
		fake_cuda_fail(NULL);
		assert_int_equal(start_piece(fx, dev, 2, dst, false), 0);
		assert_int_equal(collect(fx, dev, 2, WAKE_ONLY_MS), 0);
	}
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void a_freed_destination_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING), other = device_alloc(fx, 1, STAGING);

	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
	cuMemFree_v2(dst);
	assert_true(start_piece(fx, dev, 0, dst, false) < 0);
	assert_int_equal(fx->err.kind, FST3FS_ERROR_DEVICE);
	assert_non_null(strstr(fx->err.text, "is not memory of cuda:0"));
	memset(&fx->err, 0, sizeof(fx->err));
	assert_true(dev->ops->begin(dev, other, &fx->err) < 0); /* another device's */
	dev->ops->close(dev, false);
	cuMemFree_v2(other);
}

static void a_destroyed_context_of_the_callers_own(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	struct fake_cuda_counts c;
	CUdeviceptr own;
	CUcontext ctx;

	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 0), 0);
	assert_int_equal(cuMemAlloc_v2(&own, STAGING), 0);
	assert_int_equal(whole_read(fx, dev, own, WAKE_ONLY_MS), 0);
	cuMemHostUnregister(fx->config.staging); /* what the context takes along when it goes */
	cuCtxDestroy_v2(ctx);
	assert_true(whole_read(fx, dev, own, POLL_MS) < 0);
	assert_int_equal(fx->err.kind, FST3FS_ERROR_DEVICE);
	dev->ops->close(dev, false);
	cuMemFree_v2(own);
	fake_cuda_counts(&c);
	/* Its streams and events went with it. */
	assert_int_equal(c.registrations, 0);
}

/* ------------------------------------------------------------------ a GPU that hangs; last, for what it leaves */

static void closing_does_not_wait_for_a_gpu_that_hangs(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	struct fst3fs_dev_copy *done[PIECES];

	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
	assert_int_equal(wait_page_locked(dev), 1);
	fake_cuda_hang(1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(start_piece(fx, dev, i, dst, false), 0);
	assert_int_equal(dev->ops->reap(dev, done, PIECES, &fx->err), 0);
	dev->ops->close(dev, true);
	/* The engine is gone, its waker too, when the GPU comes back. */
	fst3fs_waker_fini(&fx->waker);
	memset(&fx->waker, 0xFF, sizeof(fx->waker));
	fake_cuda_hang(0);
	cuCtxPushCurrent_v2(fx->primary[0]);
	while (cuEventQuery(fx->copies[3].priv) == 600)
		sched_yield();
	fst3fs_waker_init(&fx->waker);
}

static int give_back(void **state)
{
	fixture_free(*state);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_call_fails_in_turn),
		TEST(the_call_that_waits_fails),
		TEST(a_broken_context_fails_everything_under_way),
		TEST(a_refused_copy_leaves_the_others_alone),
		TEST(a_freed_destination_is_refused),
	};
	/* What these leave in the driver is left on purpose. */
	const struct CMUnitTest leaving[] = {
		cmocka_unit_test_setup_teardown(a_destroyed_context_of_the_callers_own, fixture_setup, give_back),
		cmocka_unit_test_setup_teardown(closing_does_not_wait_for_a_gpu_that_hangs, fixture_setup, give_back),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	return failed + cmocka_run_group_tests(leaving, NULL, NULL);
}

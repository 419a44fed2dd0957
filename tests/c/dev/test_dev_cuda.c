/* SPDX-License-Identifier: Apache-2.0 */
/* dev_cuda over the fake driver: addresses, contexts, copies, order, page-locking. */
#include <string.h>
#include <sys/mman.h>

#include "cuda_fixture.h"

static uint8_t back[STAGING];

static void assert_match(struct fixture *fx, uint64_t address, int expected, int ordinal)
{
	int got = -7;

	assert_int_equal(fst3fs_dev_cuda.match(address, &got, &fx->err), expected);
	if (expected == 1)
		assert_int_equal(got, ordinal);
}

static void addresses_are_recognised_for_what_they_are(void **state)
{
	struct fixture *fx = *state;
	CUdeviceptr device = device_alloc(fx, 1, PIECE), managed, vmm;
	CUcontext popped;
	void *pinned;
	int on_stack;

	cuCtxPushCurrent_v2(fx->primary[1]);
	assert_int_equal(cuMemAllocManaged(&managed, PIECE, 1), 0);
	assert_int_equal(cuMemHostAlloc(&pinned, PIECE, 0), 0);
	assert_int_equal(fake_cuda_alloc_vmm(&vmm, PIECE, 1), 0);
	cuCtxPopCurrent_v2(&popped);

	assert_match(fx, device, 1, 1);
	assert_match(fx, device + PIECE - 1, 1, 1);
	assert_match(fx, managed, 1, 1);
	assert_match(fx, vmm, 1, 1);
	assert_match(fx, (uintptr_t)pinned, 0, 0);
	assert_match(fx, (uintptr_t)&on_stack, 0, 0);
	assert_match(fx, 0, 0, 0);

	cuMemFree_v2(device);
	cuMemFree_v2(managed);
	cuMemFree_v2(vmm);
	cuMemFreeHost(pinned);
}

static void bytes_arrive_through_wake_ups_alone(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);

	assert_string_equal(dev->name, "cuda:0");
	assert_int_equal(dev->ops->page_locked(dev), -1);
	for (unsigned round = 0; round < 3; round++) {
		fill_staging(fx, round);
		assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
		device_read(fx->primary[0], dst, back, STAGING);
		assert_memory_equal(back, fx->config.staging, STAGING);
	}
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void a_copy_with_wait_is_done_when_it_returns(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);

	fill_staging(fx, 5);
	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
	assert_int_equal(start_piece(fx, dev, 3, dst, true), 0);
	device_read(fx->primary[0], dst + 3ull * PIECE, back, PIECE);
	assert_memory_equal(back, (uint8_t *)fx->config.staging + (size_t)3 * PIECE, PIECE);
	assert_int_equal(collect(fx, dev, 1, WAKE_ONLY_MS), 0);
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void odd_sizes_and_addresses_arrive_exactly(void **state)
{
	static const size_t lengths[] = {1, 3, 511, 4097, 65535};
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const struct fst3fs_dev_part part = {.dst = dst + 7 * i + 1,
						     .src = (uint8_t *)fx->config.staging + 13 * i + 1,
						     .length = lengths[i]};
		struct fst3fs_dev_copy copy = {.parts = &part, .nparts = 1};

		fill_staging(fx, (unsigned)i);
		assert_int_equal(dev->ops->copy(dev, &copy, false, &fx->err), 0);
		assert_int_equal(collect(fx, dev, 1, WAKE_ONLY_MS), 0);
		device_read(fx->primary[0], part.dst, back, lengths[i]);
		assert_memory_equal(back, part.src, lengths[i]);
	}
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void copies_come_after_what_the_caller_has_queued(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	static uint8_t seen[STAGING], old[STAGING];
	CUcontext popped;

	memset(old, 0xAB, sizeof(old));
	cuCtxPushCurrent_v2(fx->primary[0]);
	assert_int_equal(cuMemcpyHtoD_v2(dst, old, STAGING), 0);
	assert_int_equal(fake_cuda_kernel(dst, seen, STAGING, 0, 30000), 0);
	cuCtxPopCurrent_v2(&popped);
	fill_staging(fx, 9);
	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	assert_memory_equal(seen, old, STAGING);
	device_read(fx->primary[0], dst, back, STAGING);
	assert_memory_equal(back, fx->config.staging, STAGING);
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void the_callers_context_stays_current(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	CUcontext now, popped;

	cuCtxPushCurrent_v2(fx->primary[1]); /* another device's, as a thread that works for it has */
	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	cuCtxGetCurrent(&now);
	assert_ptr_equal(now, fx->primary[1]);
	dev->ops->close(dev, false);
	cuCtxGetCurrent(&now);
	assert_ptr_equal(now, fx->primary[1]);
	cuCtxPopCurrent_v2(&popped);
	cuMemFree_v2(dst);
}

static void no_context_is_made_anywhere(void **state)
{
	struct fixture *fx = *state;
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	struct fake_cuda_counts before, after;
	struct fst3fs_dev *dev;

	cuDevicePrimaryCtxRelease_v2(1); /* a device that nobody uses */
	fake_cuda_counts(&before);
	dev = open_dev(fx, 0);
	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	dev->ops->close(dev, false);
	fake_cuda_counts(&after);
	assert_int_equal(after.contexts_made, before.contexts_made);
	assert_int_equal(after.primary_active, 1);
	assert_int_equal(after.primary_refs, before.primary_refs);
	cuDevicePrimaryCtxRetain(&fx->primary[1], 1);
	cuMemFree_v2(dst);
}

static void memory_of_a_context_of_the_callers_own(void **state)
{
	struct fixture *fx = *state;
	CUdeviceptr own = 0, primary = device_alloc(fx, 0, STAGING);
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUcontext ctx, popped;

	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 0), 0);
	assert_int_equal(cuMemAlloc_v2(&own, STAGING), 0);
	cuCtxPopCurrent_v2(&popped);
	/* Pieces for the two contexts in turn. */
	fill_staging(fx, 1);
	assert_int_equal(dev->ops->begin(dev, own, &fx->err), 0);
	assert_int_equal(dev->ops->begin(dev, primary, &fx->err), 0);
	for (int i = 0; i < PIECES; i++)
		assert_int_equal(start_piece(fx, dev, i, i % 2 ? own : primary, false), 0);
	assert_int_equal(collect(fx, dev, PIECES, WAKE_ONLY_MS), 0);
	for (int i = 0; i < PIECES; i++)
		device_read(i % 2 ? ctx : fx->primary[0], (i % 2 ? own : primary) + (CUdeviceptr)i * PIECE,
			    back + (size_t)i * PIECE, PIECE);
	assert_memory_equal(back, fx->config.staging, STAGING);
	cuMemFree_v2(own);
	cuMemFree_v2(primary);
	dev->ops->close(dev, false);
	cuCtxDestroy_v2(ctx);
}

static void a_context_of_the_callers_own_and_no_primary_one(void **state)
{
	struct fixture *fx = *state;
	struct fake_cuda_counts before, after;
	struct fst3fs_dev *dev;
	CUdeviceptr own = 0;
	CUcontext ctx, popped;

	cuDevicePrimaryCtxRelease_v2(1);
	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 1), 0);
	assert_int_equal(cuMemAlloc_v2(&own, STAGING), 0);
	cuCtxPopCurrent_v2(&popped);
	fake_cuda_counts(&before);
	dev = open_dev(fx, 1);
	assert_int_equal(whole_read(fx, dev, own, WAKE_ONLY_MS), 0);
	dev->ops->close(dev, false);
	fake_cuda_counts(&after);
	assert_int_equal(after.contexts_made, before.contexts_made);
	cuMemFree_v2(own);
	cuCtxDestroy_v2(ctx);
	cuDevicePrimaryCtxRetain(&fx->primary[1], 1);
}

static void memory_of_no_context_and_managed_memory(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr vmm = 0, managed = 0;
	CUcontext popped;

	fill_staging(fx, 77);
	cuCtxPushCurrent_v2(fx->primary[0]);
	assert_int_equal(fake_cuda_alloc_vmm(&vmm, STAGING, 0), 0);
	assert_int_equal(cuMemAllocManaged(&managed, STAGING, 1), 0);
	cuCtxPopCurrent_v2(&popped);
	assert_int_equal(whole_read(fx, dev, vmm, WAKE_ONLY_MS), 0);
	assert_int_equal(whole_read(fx, dev, managed, WAKE_ONLY_MS), 0);
	device_read(fx->primary[0], vmm, back, STAGING);
	assert_memory_equal(back, fx->config.staging, STAGING);
	assert_memory_equal((void *)(uintptr_t)managed, fx->config.staging, STAGING);
	dev->ops->close(dev, false);
	cuMemFree_v2(vmm);
	cuMemFree_v2(managed);
}

static void page_locking_is_shared_between_devices(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *devs[2] = {open_dev(fx, 0), open_dev(fx, 1)};
	struct fake_cuda_counts c;
	CUdeviceptr dst[2];

	for (int i = 0; i < 2; i++) {
		dst[i] = device_alloc(fx, i, STAGING);
		assert_int_equal(whole_read(fx, devs[i], dst[i], WAKE_ONLY_MS), 0);
		assert_int_equal(wait_page_locked(devs[i]), 1);
	}
	fake_cuda_counts(&c);
	assert_int_equal(c.registrations, 1);
	devs[0]->ops->close(devs[0], false);
	fake_cuda_counts(&c);
	assert_int_equal(c.registrations, 1);
	fake_cuda_counts(&c);
	assert_int_equal(whole_read(fx, devs[1], dst[1], WAKE_ONLY_MS), 0);
	devs[1]->ops->close(devs[1], false);
	fake_cuda_counts(&c);
	assert_int_equal(c.registrations, 0);
	cuMemFree_v2(dst[0]);
	cuMemFree_v2(dst[1]);
}

static void page_locked_copies_need_no_staging_of_the_drivers(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	struct fake_cuda_counts before, after;

	assert_int_equal(dev->ops->begin(dev, dst, &fx->err), 0);
	assert_int_equal(wait_page_locked(dev), 1);
	fake_cuda_counts(&before);
	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	fake_cuda_counts(&after);
	assert_int_equal(after.copies - before.copies, PIECES);
	assert_int_equal(after.unpinned, before.unpinned);
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void memory_that_somebody_else_page_locked(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	struct fake_cuda_counts c;
	CUcontext popped;
	char line[1024];

	cuCtxPushCurrent_v2(fx->primary[0]);
	assert_int_equal(cuMemHostRegister_v2(fx->config.staging, STAGING, 1), 0);
	cuCtxPopCurrent_v2(&popped);
	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	assert_int_equal(wait_page_locked(dev), 1);
	assert_int_equal(dev->ops->remark(dev, line, sizeof(line)), 0);
	dev->ops->close(dev, false);
	fake_cuda_counts(&c);
	assert_int_equal(c.registrations, 1); /* still theirs */
	assert_int_equal(cuMemHostUnregister(fx->config.staging), 0);
	cuMemFree_v2(dst);
}

static void copies_work_and_one_line_tells_when_page_locking_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	char line[1024];

	fake_cuda_fail("cuMemHostRegister_v2:0:CUDA_ERROR_OUT_OF_MEMORY");
	for (unsigned round = 0; round < 3; round++) {
		fill_staging(fx, round);
		assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
		device_read(fx->primary[0], dst, back, STAGING);
		assert_memory_equal(back, fx->config.staging, STAGING);
		assert_int_equal(wait_page_locked(dev), 0);
	}
	assert_int_equal(dev->ops->remark(dev, line, sizeof(line)), FST3FS_LOG_WARNING);
	assert_non_null(strstr(line, "CUDA_ERROR_OUT_OF_MEMORY"));
	assert_non_null(strstr(line, "memlock"));
	assert_int_equal(dev->ops->remark(dev, line, sizeof(line)), 0);
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

static void events_are_used_again(void **state)
{
	struct fixture *fx = *state;
	struct fst3fs_dev *dev = open_dev(fx, 0);
	CUdeviceptr dst = device_alloc(fx, 0, STAGING);
	struct fake_cuda_counts first, last;

	assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	fake_cuda_counts(&first);
	for (int i = 0; i < 5; i++)
		assert_int_equal(whole_read(fx, dev, dst, WAKE_ONLY_MS), 0);
	fake_cuda_counts(&last);
	assert_in_range(last.events, first.events, PIECES + 1);
	assert_int_equal(last.streams, 2);
	dev->ops->close(dev, false);
	cuMemFree_v2(dst);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_are_recognised_for_what_they_are),
		TEST(bytes_arrive_through_wake_ups_alone),
		TEST(a_copy_with_wait_is_done_when_it_returns),
		TEST(odd_sizes_and_addresses_arrive_exactly),
		TEST(copies_come_after_what_the_caller_has_queued),
		TEST(the_callers_context_stays_current),
		TEST(no_context_is_made_anywhere),
		TEST(memory_of_a_context_of_the_callers_own),
		TEST(a_context_of_the_callers_own_and_no_primary_one),
		TEST(memory_of_no_context_and_managed_memory),
		TEST(page_locking_is_shared_between_devices),
		TEST(page_locked_copies_need_no_staging_of_the_drivers),
		TEST(memory_that_somebody_else_page_locked),
		TEST(copies_work_and_one_line_tells_when_page_locking_is_refused),
		TEST(events_are_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

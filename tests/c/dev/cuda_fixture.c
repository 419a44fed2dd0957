/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_fixture.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int fixture_setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_int_equal(cuInit(0), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(cuDevicePrimaryCtxRetain(&fx->primary[i], i), 0);
	fst3fs_waker_init(&fx->waker);
	fx->config = (struct fst3fs_dev_config){.staging_size = STAGING, .waker = &fx->waker};
	fx->config.staging = mmap(NULL, STAGING, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fx->config.staging, MAP_FAILED);
	*state = fx;
	return 0;
}

void fixture_free(struct fixture *fx)
{
	munmap(fx->config.staging, STAGING);
	fst3fs_waker_fini(&fx->waker);
	for (int i = 0; i < 2; i++)
		cuDevicePrimaryCtxRelease_v2(i);
	free(fx);
}

int nothing_left(void)
{
	struct fake_cuda_counts c;
	int left;

	fake_cuda_counts(&c);
	left = c.streams || c.events || c.registrations || c.primary_refs || c.wrong_use;
	if (left)
		print_error("%s, %d retains\n", fake_cuda_report(NULL), c.primary_refs);
	return left;
}

int fixture_teardown(void **state)
{
	fake_cuda_fail(NULL);
	fake_cuda_heal();
	fake_cuda_delay_us(200);
	fixture_free(*state);
	return nothing_left();
}

CUdeviceptr device_alloc(struct fixture *fx, int device, size_t size)
{
	CUdeviceptr p = 0;
	CUcontext popped;

	assert_int_equal(cuCtxPushCurrent_v2(fx->primary[device]), 0);
	assert_int_equal(cuMemAlloc_v2(&p, size), 0);
	assert_int_equal(cuCtxPopCurrent_v2(&popped), 0);
	return p;
}

void device_read(CUcontext ctx, CUdeviceptr from, void *to, size_t size)
{
	CUcontext popped;

	assert_int_equal(cuCtxPushCurrent_v2(ctx), 0);
	assert_int_equal(cuMemcpyDtoH_v2(to, from, size), 0);
	assert_int_equal(cuCtxPopCurrent_v2(&popped), 0);
}

void fill_staging(struct fixture *fx, unsigned seed)
{
	uint8_t *bytes = fx->config.staging;

	for (size_t i = 0; i < STAGING; i++)
		bytes[i] = (uint8_t)((i * 2654435761u >> 13) + seed);
}

struct fst3fs_dev *open_dev(struct fixture *fx, int ordinal)
{
	struct fst3fs_dev *dev = NULL;

	assert_int_equal(fst3fs_dev_cuda.open(ordinal, &fx->config, &dev, &fx->err), 0);
	return dev;
}

int start_piece(struct fixture *fx, struct fst3fs_dev *dev, int i, CUdeviceptr dst, bool wait)
{
	fx->parts[i] = (struct fst3fs_dev_part){.dst = dst + (CUdeviceptr)i * PIECE,
						.src = (uint8_t *)fx->config.staging + (size_t)i * PIECE,
						.length = PIECE};
	fx->copies[i] = (struct fst3fs_dev_copy){.parts = &fx->parts[i], .nparts = 1, .status = 12345};
	return dev->ops->copy(dev, &fx->copies[i], wait, &fx->err);
}

int collect(struct fixture *fx, struct fst3fs_dev *dev, int n, unsigned poll_ms)
{
	struct fst3fs_dev_copy *done[PIECES];
	int failed = 0;

	while (n > 0) {
		int got = dev->ops->reap(dev, done, PIECES, &fx->err);

		assert_in_range(got, 0, n);
		for (int i = 0; i < got; i++) {
			assert_ptr_equal(done[i]->dev, dev);
			assert_true(done[i]->status == 0 || done[i]->status < 0);
			failed += done[i]->status < 0;
		}
		n -= got;
		if (n > 0 && got == 0)
			fst3fs_waker_wait(&fx->waker, fst3fs_now_ns() + poll_ms * FST3FS_NS_PER_MS);
	}
	return failed;
}

int whole_read(struct fixture *fx, struct fst3fs_dev *dev, CUdeviceptr dst, unsigned poll_ms)
{
	int rc = dev->ops->begin(dev, dst, &fx->err), started = 0;

	while (rc == 0 && started < PIECES) {
		rc = start_piece(fx, dev, started, dst, false);
		if (rc == 0)
			started++;
	}
	if (collect(fx, dev, started, poll_ms) > 0 && rc == 0)
		rc = fx->err.code;
	return rc;
}

int wait_page_locked(struct fst3fs_dev *dev)
{
	int locked;

	while ((locked = dev->ops->page_locked(dev)) < 0)
		sched_yield();
	return locked;
}

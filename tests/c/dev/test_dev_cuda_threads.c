/* SPDX-License-Identifier: Apache-2.0 */
/* Several readers at once: threads with different current devices, each with devices and a staging buffer of its own.
 */
#include <pthread.h>
#include <stdlib.h>

#include "cuda_fixture.h"

enum { THREADS = 4, ROUNDS = 6 };

static void read_rounds(struct fixture *fx, unsigned seed)
{
	struct fst3fs_dev *devs[2] = {open_dev(fx, 0), open_dev(fx, 1)};
	CUdeviceptr dst[2] = {device_alloc(fx, 0, STAGING), device_alloc(fx, 1, STAGING)};
	uint8_t *back = malloc(STAGING);

	for (unsigned round = 0; round < ROUNDS; round++) {
		int to = (int)((round + seed) % 2);

		fill_staging(fx, seed * 16 + round);
		assert_int_equal(whole_read(fx, devs[to], dst[to], WAKE_ONLY_MS), 0);
		device_read(fx->primary[to], dst[to], back, STAGING);
		assert_memory_equal(back, fx->config.staging, STAGING);
	}
	for (int i = 0; i < 2; i++) {
		devs[i]->ops->close(devs[i], false);
		cuMemFree_v2(dst[i]);
	}
	free(back);
}

static void *thread(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	void *fx = NULL;
	CUcontext mine, now, popped;

	fixture_setup(&fx);
	cuDevicePrimaryCtxRetain(&mine, (int)(seed % 2));
	cuCtxPushCurrent_v2(mine);
	read_rounds(fx, seed);
	cuCtxGetCurrent(&now);
	assert_ptr_equal(now, mine);
	cuCtxPopCurrent_v2(&popped);
	cuDevicePrimaryCtxRelease_v2((int)(seed % 2));
	return fx;
}

static void threads_with_different_current_devices(void **state)
{
	struct fake_cuda_counts before, after;
	pthread_t threads[THREADS];
	void *fx[THREADS];

	(void)state;
	fake_cuda_counts(&before);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], &fx[i]);
	fake_cuda_counts(&after);
	assert_int_equal(after.registrations, 0);
	assert_int_equal(after.copies - before.copies, THREADS * ROUNDS * PIECES);
	for (int i = 0; i < THREADS; i++)
		fixture_free(fx[i]);
	assert_int_equal(nothing_left(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(threads_with_different_current_devices)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

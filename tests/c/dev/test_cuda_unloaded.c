/* SPDX-License-Identifier: Apache-2.0 */
/* A process in which nobody has loaded, or nobody has initialised, a CUDA driver. Not linked with the fake one. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_driver.h"
#include "dev.h"
#include "fork_beside.h"

static void *fake;

static void assert_host(uint64_t address)
{
	int ordinal;

	assert_int_equal(fst3fs_dev_cuda.match(address, &ordinal, NULL), 0);
}

static void no_driver_is_loaded_on_our_account(void **state)
{
	const struct fst3fs_cuda_driver *cu;
	int on_stack;

	(void)state;
	assert_host((uintptr_t)&on_stack);
	assert_null(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD));
	assert_int_equal(fst3fs_cuda_driver_get(&cu), 0);
	assert_null(cu);
}

static void look(void)
{
	const struct fst3fs_cuda_driver *cu;

	fst3fs_cuda_driver_get(&cu);
}

static void a_child_can_look_for_it_too(void **state)
{
	(void)state;
	assert_children_can(look);
}

static void a_device_cannot_be_opened_without_one(void **state)
{
	struct fst3fs_error err = {0};
	struct fst3fs_dev *dev = NULL;

	(void)state;
	assert_int_equal(fst3fs_dev_cuda.open(0, &(struct fst3fs_dev_config){0}, &dev, &err), -ENOTSUP);
	assert_int_equal(err.kind, FST3FS_ERROR_DEVICE);
	assert_null(dev);
}

static void a_driver_that_nobody_has_initialised(void **state)
{
	const struct fst3fs_cuda_driver *cu;
	int on_stack;

	(void)state;
	fake = dlopen("libcuda.so.1", RTLD_NOW);
	assert_non_null(fake);
	assert_host((uintptr_t)&on_stack);
	assert_int_equal(fst3fs_cuda_driver_get(&cu), 0);
	assert_non_null(cu);
	assert_null(cu->missing);
}

static void it_is_used_once_somebody_has(void **state)
{
	fst3fs_cu_result (*init)(unsigned), (*alloc)(unsigned long long *, size_t, int), (*release)(unsigned long long);
	unsigned long long device = 0;
	void *symbols[] = {dlsym(fake, "cuInit"), dlsym(fake, "fake_cuda_alloc_vmm"), dlsym(fake, "cuMemFree_v2")};
	int ordinal = -1;

	(void)state;
	memcpy(&init, &symbols[0], sizeof(init));
	memcpy(&alloc, &symbols[1], sizeof(alloc));
	memcpy(&release, &symbols[2], sizeof(release));
	assert_int_equal(init(0), 0);
	assert_int_equal(alloc(&device, 4096, 1), 0);
	assert_int_equal(fst3fs_dev_cuda.match(device, &ordinal, NULL), 1);
	assert_int_equal(ordinal, 1);
	release(device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_driver_is_loaded_on_our_account),
		cmocka_unit_test(a_child_can_look_for_it_too),
		cmocka_unit_test(a_device_cannot_be_opened_without_one),
		cmocka_unit_test(a_driver_that_nobody_has_initialised),
		cmocka_unit_test(it_is_used_once_somebody_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

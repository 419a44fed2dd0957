/* SPDX-License-Identifier: Apache-2.0 */
/* A driver without functions that are needed is refused by name, and only by those who have a GPU address. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_driver.h"
#include "dev.h"

static void a_gpu_address_names_what_is_missing(void **state)
{
	const struct fst3fs_cuda_driver *cu;
	struct fst3fs_error err = {0};
	struct fst3fs_dev *dev = NULL;
	int ordinal = -1;

	(void)state;
	assert_int_equal(fst3fs_dev_cuda.match(4096, &ordinal, &err), 1);
	assert_int_equal(ordinal, 0);
	assert_int_equal(fst3fs_dev_cuda.open(0, &(struct fst3fs_dev_config){0}, &dev, &err), -ENOTSUP);
	assert_int_equal(err.kind, FST3FS_ERROR_DEVICE);
	assert_int_equal(fst3fs_cuda_driver_get(&cu), 0);
	assert_non_null(strstr(err.text, cu->missing));
	assert_null(dev);
}

static void an_error_needs_no_name(void **state)
{
	struct fst3fs_error err = {0};
	int ordinal;

	(void)state;
	assert_int_equal(fst3fs_dev_cuda.match(0, &ordinal, &err), -EIO);
	assert_non_null(strstr(err.text, "error 999"));
}

static int load_driver(void **state)
{
	(void)state;
	return dlopen("libcuda.so.1", RTLD_NOW) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_gpu_address_names_what_is_missing),
		cmocka_unit_test(an_error_needs_no_name),
	};

	return cmocka_run_group_tests(tests, load_driver, NULL);
}

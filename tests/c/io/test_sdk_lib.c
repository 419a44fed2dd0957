/* SPDX-License-Identifier: Apache-2.0 */
/* The official library at run time: what is taken, what is refused and why. Argument: our drop-in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fork_beside.h"
#include "fst3fs.h"
#include "sdk_lib.h"

static const char *dropin;

static void the_dropin_is_taken_once(void **state)
{
	const struct fst3fs_sdk *sdk = NULL, *again = NULL;
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_sdk_load(dropin, &sdk, &err), 0);
	assert_string_equal(sdk->path, dropin);
	assert_int_equal(sdk->ior_size(1), 16 + 32 + 2 * 96 + 4096);
	assert_int_equal(sdk->reg_fd(-1, 0), EBADF);
	assert_int_equal(fst3fs_sdk_load(dropin, &again, &err), 0);
	assert_ptr_equal(sdk, again);
}

static void refused(const char *path, const char *why)
{
	const struct fst3fs_sdk *sdk = NULL;
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	assert_int_equal(fst3fs_sdk_load(path, &sdk, &err), -ELIBBAD);
	assert_null(sdk);
	assert_int_equal(err.code, -ELIBBAD);
	assert_string_equal(err.path, path);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void what_is_no_library_is_refused(void **state)
{
	char path[] = "/tmp/fst3fs-sdk-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	refused("/no/such/library.so", "No such file");
	refused(path, "too short");
	assert_int_equal(ftruncate(fd, 4096), 0);
	refused(path, "invalid ELF header");
	close(fd);
	unlink(path);
}

static void missing_functions_are_named(void **state)
{
	(void)state;
	refused("libc.so.6", "it lacks hf3fs_is_hf3fs, hf3fs_extract_mount_point, hf3fs_iovcreate");
	refused("libc.so.6", "hf3fs_punchhole");
}

static void load(void)
{
	const struct fst3fs_sdk *sdk = NULL;
	struct fst3fs_error err;

	fst3fs_sdk_load("/no/such/library.so", &sdk, &err);
}

static void a_child_can_load_one_too(void **state)
{
	(void)state;
	assert_children_can(load);
}

static void a_reader_says_so(void **state)
{
	struct fst3fs_options o;
	struct fst3fs_reader *r = NULL;
	struct fst3fs_error err;

	(void)state;
	fst3fs_options_init(&o);
	o.usrbio = FST3FS_USRBIO_SDK;
	assert_int_equal(fst3fs_open(&o, &r, &err), -EINVAL);
	assert_int_equal(err.kind, FST3FS_ERROR_VALUE);
	o.sdk_path = "/no/such/library.so";
	assert_int_equal(fst3fs_open(&o, &r, &err), -ELIBBAD);
	assert_string_equal(err.path, o.sdk_path);
	o.usrbio = 7;
	assert_int_equal(fst3fs_open(&o, &r, &err), -EINVAL);
	assert_null(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_dropin_is_taken_once),
		cmocka_unit_test(what_is_no_library_is_refused),
		cmocka_unit_test(missing_functions_are_named),
		cmocka_unit_test(a_child_can_load_one_too),
		cmocka_unit_test(a_reader_says_so),
	};

	if (argc < 2)
		return 77;
	dropin = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}

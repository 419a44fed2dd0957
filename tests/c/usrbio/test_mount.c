/* SPDX-License-Identifier: Apache-2.0 */
/* Which mount a path is on, from literal mountinfo. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "emulated.h"
#include "mount.h"
#include "usrbio.h"

#define LINE(point, type) "36 35 0:42 / " point " rw,relatime shared:7 master:1 - " type " hf3fs.c rw,user_id=0\n"
#define MOUNT(point) LINE(point, "fuse.hf3fs")

/* `ctx` is a mount that lacks the virtual directory, or NULL. */
static int has_virt(const char *mount, void *ctx)
{
	return !ctx || strcmp(mount, ctx) != 0;
}

/* The mount of `path`, "" for none. In a static buffer. */
static const char *find(const char *text, const char *path, struct usrbio_mount_rule rule)
{
	static char result[4096];
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	char *mount = NULL;
	int rc;

	assert_non_null(f);
	rule.has_virt = has_virt;
	rc = usrbio_mountinfo_find(f, path, &rule, &mount);
	fclose(f);
	assert_int_equal(rc, mount != NULL);
	snprintf(result, sizeof(result), "%s", mount ? mount : "");
	free(mount);
	return result;
}

static const struct usrbio_mount_rule plain;

static void prefixes_are_whole_components(void **state)
{
	static const char text[] = MOUNT("/mnt/3fs") MOUNT("/mnt/3fs2") LINE("/", "ext4");

	(void)state;
	assert_string_equal(find(text, "/mnt/3fs", plain), "/mnt/3fs");
	assert_string_equal(find(text, "/mnt/3fs/f", plain), "/mnt/3fs");
	assert_string_equal(find(text, "/mnt/3fs2/f", plain), "/mnt/3fs2");
	assert_string_equal(find(text, "/mnt/3fs22/f", plain), "");
	assert_string_equal(find(text, "/mnt/3f", plain), "");
	assert_string_equal(find(text, "/mnt", plain), "");
}

static void the_longest_mount_wins(void **state)
{
	static const char outer_first[] = MOUNT("/a") MOUNT("/a/b/c") MOUNT("/a/b");
	static const char inner_first[] = MOUNT("/a/b/c") MOUNT("/a/b") MOUNT("/a");

	(void)state;
	assert_string_equal(find(outer_first, "/a/b/c/d", plain), "/a/b/c");
	assert_string_equal(find(inner_first, "/a/b/c/d", plain), "/a/b/c");
	assert_string_equal(find(inner_first, "/a/b/d", plain), "/a/b");
	assert_string_equal(find(inner_first, "/a/x", plain), "/a");
}

static void other_types_do_not_count(void **state)
{
	static const char text[] = LINE("/mnt/a", "fuse.sshfs") LINE("/mnt/b", "fuse.hf3fs2") LINE("/mnt/c", "fuse");
	static const struct usrbio_mount_rule loose = {.any_type = true};

	(void)state;
	assert_string_equal(find(text, "/mnt/a/f", plain), "");
	assert_string_equal(find(text, "/mnt/b/f", plain), "");
	assert_string_equal(find(text, "/mnt/c/f", plain), "");
	assert_string_equal(find(text, "/mnt/a/f", loose), "/mnt/a");
}

static void escapes_are_undone(void **state)
{
	static const char text[] = MOUNT("/mnt/a\\040b\\011c\\012d\\134e") MOUNT("/mnt/\303\274ber");

	(void)state;
	assert_string_equal(find(text, "/mnt/a b\tc\nd\\e/f", plain), "/mnt/a b\tc\nd\\e");
	assert_string_equal(find(text, "/mnt/\303\274ber/f", plain), "/mnt/\303\274ber");
	assert_string_equal(find(text, "/mnt/a", plain), "");
}

static void a_mount_of_the_virtual_directory_stands_for_its_parent(void **state)
{
	static const char text[] = MOUNT("/data/3fs-virt") MOUNT("/data/models") MOUNT("/x3fs-virt");
	struct usrbio_mount_rule rule = {.ctx = "/data/models"};

	(void)state;
	assert_string_equal(find(text, "/data/models/f", rule), "/data");
	assert_string_equal(find(text, "/data/3fs-virt/iovs", rule), "/data");
	assert_string_equal(find(text, "/data", rule), "/data");
	assert_string_equal(find(text, "/x3fs-virt/f", rule), "/x3fs-virt");
}

static void a_mount_without_the_virtual_directory_does_not_count(void **state)
{
	static const char text[] = MOUNT("/a") MOUNT("/a/b");
	struct usrbio_mount_rule rule = {.ctx = "/a/b"};

	(void)state;
	assert_string_equal(find(text, "/a/b/f", rule), "/a");
	rule.ctx = "/a";
	assert_string_equal(find(text, "/a/b/f", rule), "/a/b");
	assert_string_equal(find(text, "/a/f", rule), "");
}

static void the_root_can_be_one(void **state)
{
	(void)state;
	assert_string_equal(find(MOUNT("/"), "/etc/f", plain), "/");
	assert_string_equal(find(MOUNT("/3fs-virt"), "/etc/f", plain), "/");
}

static void optional_fields_may_be_many_or_none(void **state)
{
	static const char none[] = "36 35 0:42 / /m rw - fuse.hf3fs hf3fs.c rw\n";
	static const char many[] = "36 35 0:42 / /m rw a:1 b:2 c:3 d - fuse.hf3fs hf3fs.c rw\n";

	(void)state;
	assert_string_equal(find(none, "/m/f", plain), "/m");
	assert_string_equal(find(many, "/m/f", plain), "/m");
}

static void broken_lines_are_passed_over(void **state)
{
	static const char text[] = "\n36\n36 35 0:42 / /m rw - \n36 35 0:42 / /m rw fuse.hf3fs\n- fuse.hf3fs x\n"
				   "36 35 0:42 / /\\04 rw - fuse.hf3fs x\n" MOUNT("/n");

	(void)state;
	assert_string_equal(find(text, "/m/f", plain), "");
	assert_string_equal(find(text, "/n/f", plain), "/n");
}

static void paths_off_3fs_have_no_mount(void **state)
{
	char buf[16] = "unchanged";

	(void)state;
	assert_int_equal(usrbio_mount_of("/proc/self/status", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(usrbio_mount_of("/no/such/path", buf, sizeof(buf)), 0);
	assert_int_equal(usrbio_mount_of("no/such/path", buf, sizeof(buf)), 0);
	assert_int_equal(usrbio_mount_of("/proc/self/status/under-a-file", buf, sizeof(buf)), 0);
	assert_int_equal(usrbio_mount_of("", buf, sizeof(buf)), 0);
}

static void loops_are_errors(void **state)
{
	char dir[] = "/tmp/usrbio-test-XXXXXX";
	char path[64], buf[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/loop", dir);
	assert_int_equal(symlink("loop", path), 0);
	assert_int_equal(usrbio_mount_of(path, buf, sizeof(buf)), -ELOOP);
	unlink(path);
	rmdir(dir);
}

static void ordinary_files_are_not_on_3fs(void **state)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	(void)state;
	if (emulated())
		skip(); /* qemu passes no ioctl on that it does not know */
	assert_int_equal(usrbio_fd_is_3fs(fd), 0);
	close(fd);
	assert_int_equal(usrbio_fd_is_3fs(fd), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes_are_whole_components),
		cmocka_unit_test(the_longest_mount_wins),
		cmocka_unit_test(other_types_do_not_count),
		cmocka_unit_test(escapes_are_undone),
		cmocka_unit_test(a_mount_of_the_virtual_directory_stands_for_its_parent),
		cmocka_unit_test(a_mount_without_the_virtual_directory_does_not_count),
		cmocka_unit_test(the_root_can_be_one),
		cmocka_unit_test(optional_fields_may_be_many_or_none),
		cmocka_unit_test(broken_lines_are_passed_over),
		cmocka_unit_test(paths_off_3fs_have_no_mount),
		cmocka_unit_test(loops_are_errors),
		cmocka_unit_test(ordinary_files_are_not_on_3fs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

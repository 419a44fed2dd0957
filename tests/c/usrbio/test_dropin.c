/* SPDX-License-Identifier: Apache-2.0 */
/* The drop-in without a daemon: what it registers, what it refuses, and who owns what. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "emulated.h"
#include "hf3fs_usrbio.h"
#include "key.h"
#include "scratch.h"
#include "wire.h"

static const uint8_t some_id[16] = {1};

static int setup(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));

	scratch_make(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	scratch_remove(*state);
	free(*state);
	return 0;
}

/* Runs `fn` in a child made by fork; its result, 0 to 255. */
static int in_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_abi_is_the_official_one(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct hf3fs_iov), 8 + 8 + 16 + 256 + 8 + 8 + 8);
	assert_int_equal(sizeof(struct hf3fs_ior), 312 + 8 + 256 + 4 + 4 + 4 + 4 + 8);
	assert_int_equal(sizeof(struct hf3fs_cqe), 24);
	assert_int_equal(hf3fs_ior_size(64), 16 + 32 + 96 * 65 + 4096);
	assert_int_equal(hf3fs_ior_size(0), 0);
}

static void a_buffer_keeps_its_name_until_destroyed(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_iov iov, other;
	char uuid[USRBIO_UUID_SIZE], path[96];
	struct stat st;

	assert_int_equal(hf3fs_iovcreate(&iov, s->dir, 10000, 5000, -1), 0);
	assert_int_equal(iov.size, 10000);
	assert_int_equal(iov.block_size, 5000);
	assert_string_equal(iov.mount_point, s->dir);
	usrbio_uuid_print((uint8_t *)iov.id, uuid);
	snprintf(path, sizeof(path), "/dev/shm/hf3fs-iov-%s", uuid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 10000);
	hf3fs_iovunlink(&iov);
	assert_int_equal(stat(path, &st), -1);
	iov.base[9999] = 1;
	assert_int_equal(scratch_links(s), 1);
	assert_int_equal(hf3fs_iovopen(&other, (uint8_t *)iov.id, s->dir, 10000, 5000, -1), -ENOENT);
	hf3fs_iovdestroy(&iov);
	assert_int_equal(scratch_links(s), 0);
	assert_int_equal(scratch_shm_objects(), 0);
	hf3fs_iovdestroy(&iov);
}

struct open_arg {
	const struct scratch *s;
	struct hf3fs_iov *iov;
};

static int open_and_write(void *arg)
{
	struct open_arg *a = arg;
	struct hf3fs_iov mine;

	if (hf3fs_iovopen(&mine, (uint8_t *)a->iov->id, a->s->dir, a->iov->size, a->iov->block_size, -1) != 0)
		return 1;
	mine.base[8191] = 77;
	hf3fs_iovdestroy(&mine);
	return mine.base != NULL;
}

static void another_process_can_open_a_buffer(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_iov iov, other;
	struct open_arg arg = {s, &iov};

	if (emulated())
		skip(); /* a child of threads has none under qemu */
	assert_int_equal(hf3fs_iovcreate(&iov, s->dir, 8192, 4096, -1), 0);
	assert_int_equal(in_child(open_and_write, &arg), 0);
	assert_int_equal(iov.base[8191], 77);
	/* Closed over there, intact here. */
	assert_int_equal(hf3fs_iovopen(&other, (uint8_t *)iov.id, s->dir, 8192, 4096, -1), 0);
	hf3fs_iovdestroy(&other);
	assert_int_equal(scratch_links(s), 1);
	/* Larger than it is, with other blocks, and never made. */
	assert_int_equal(hf3fs_iovopen(&other, (uint8_t *)iov.id, s->dir, 8193, 4096, -1), -EINVAL);
	assert_int_equal(hf3fs_iovopen(&other, (uint8_t *)iov.id, s->dir, 8192, 0, -1), -ENOENT);
	assert_int_equal(hf3fs_iovopen(&other, some_id, s->dir, 8192, 4096, -1), -ENOENT);
	hf3fs_iovdestroy(&iov);
}

static void a_registration_that_leads_elsewhere_is_not_opened(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_iov iov;
	char uuid[USRBIO_UUID_SIZE], path[192];

	usrbio_uuid_print(some_id, uuid);
	snprintf(path, sizeof(path), "%s/%s", s->iovs, uuid);
	assert_int_equal(symlink("/dev/shm/../../etc/passwd", path), 0);
	assert_int_equal(hf3fs_iovopen(&iov, some_id, s->dir, 16, 0, -1), -EINVAL);
	unlink(path);
}

static void rings_are_registered_with_all_their_attributes(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_ior ior;
	char uuid[USRBIO_UUID_SIZE], path[256], target[256];

	assert_int_equal(hf3fs_iorcreate4(&ior, s->dir, 16, false, -4, 7, -1, HF3FS_IOR_FORBID_READ_HOLES), 0);
	assert_int_equal(hf3fs_io_entries(&ior), 16);
	assert_int_equal(ior.io_depth, -4);
	assert_int_equal(ior.timeout, 7);
	assert_int_equal(ior.flags, 2);
	assert_false(ior.for_read);
	assert_int_equal(ior.iov.size, hf3fs_ior_size(16));
	usrbio_uuid_print((uint8_t *)ior.iov.id, uuid);
	snprintf(path, sizeof(path), "%s/%s.w-4.t7.f10", s->iovs, uuid);
	assert_true(readlink(path, target, sizeof(target)) > 0);
	assert_int_equal(scratch_shm_objects(), 0);
	hf3fs_iordestroy(&ior);
	/* Flags are in binary when it is taken away, too. */
	assert_int_equal(scratch_links(s), 0);
	hf3fs_iordestroy(&ior);
}

static void a_priority_without_a_semaphore_is_refused(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_ior ior;

	assert_int_equal(hf3fs_iorcreate2(&ior, s->dir, 4, true, 0, -1, -1), -ENOTSUP);
	assert_int_equal(hf3fs_iorcreate3(&ior, s->dir, 4, true, 0, 1, 0, -1), -ENOTSUP);
	assert_int_equal(scratch_links(s), 0);
	assert_int_equal(scratch_shm_objects(), 0);
}

static void bad_arguments_are_refused(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_iov iov = {0};
	struct hf3fs_ior ior = {0};
	struct hf3fs_cqe cqe;
	char long_name[300], byte;

	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[0] = '/';
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(hf3fs_iovcreate(NULL, s->dir, 1, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iovcreate(&iov, NULL, 1, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iovcreate(&iov, s->dir, 0, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iovcreate(&iov, s->dir, 4096, 8192, -1), -EINVAL);
	assert_int_equal(hf3fs_iovcreate(&iov, long_name, 1, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iovcreate(&iov, "/nowhere", 1, 0, -1), -ENOENT);
	assert_int_equal(hf3fs_iovcreate(&iov, s->dir, 1ul << 50, 0, -1), -ENOSPC);
	assert_int_equal(hf3fs_iovopen(&iov, NULL, s->dir, 1, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iovwrap(&iov, &byte, some_id, long_name, 1, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iovwrap(&iov, NULL, some_id, s->dir, 1, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iorcreate(NULL, s->dir, 1, true, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iorcreate(&ior, s->dir, 0, true, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_iorcreate(&ior, s->dir, -1, true, 0, -1), -EINVAL);
	assert_int_equal(hf3fs_io_entries(NULL), -EINVAL);
	assert_int_equal(hf3fs_submit_ios(&ior), -EINVAL);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 1, NULL), -EINVAL);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, NULL, 0, 0, 0, NULL), -EINVAL);
	hf3fs_iovdestroy(NULL);
	hf3fs_iovunlink(NULL);
	hf3fs_iordestroy(NULL);
	hf3fs_iordestroy(&ior);
	assert_int_equal(scratch_links(s), 0);
}

static void a_wrapped_buffer_is_only_described(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_iov iov;
	uint8_t memory[64];

	assert_int_equal(hf3fs_iovwrap(&iov, memory, some_id, s->dir, sizeof(memory), 32, 3), 0);
	assert_ptr_equal(iov.base, memory);
	assert_memory_equal(iov.id, some_id, 16);
	assert_string_equal(iov.mount_point, s->dir);
	assert_int_equal(iov.size, sizeof(memory));
	assert_int_equal(iov.block_size, 32);
	assert_int_equal(iov.numa, 3);
	assert_null(iov.iovh);
	hf3fs_iovdestroy(&iov);
	assert_int_equal(scratch_links(s), 0);
}

static void files_off_3fs_are_not_registered(void **state)
{
	const struct scratch *s = *state;
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
	char buf[64];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	const int unknown[] = {fd, -1, -fd, INT_MAX, INT_MIN};

	assert_int_equal(hf3fs_reg_fd(fd, 0), EBADF);
	assert_int_equal(hf3fs_reg_fd(-1, 0), EBADF);
	assert_false(hf3fs_is_hf3fs(fd));
	hf3fs_dereg_fd(fd);
	hf3fs_dereg_fd(INT_MIN);
	assert_int_equal(hf3fs_punchhole(fd, 1, (size_t[]){0}, (size_t[]){1}, 0), EBADF);
	assert_int_equal(hf3fs_punchhole(fd, 0, (size_t[]){0}, (size_t[]){1}, 0), EINVAL);
	assert_int_equal(hf3fs_punchhole(fd, 1001, (size_t[]){0}, (size_t[]){1}, 0), EINVAL);
	assert_int_equal(hf3fs_hardlink("/proc/self/exe", "/tmp/x"), EXDEV);
	assert_int_equal(hf3fs_hardlink("/no/such/file", "/tmp/x"), ENOENT);
	assert_int_equal(hf3fs_extract_mount_point(buf, sizeof(buf), "/proc/self/exe"), -1);
	assert_int_equal(hf3fs_extract_mount_point(buf, sizeof(buf), NULL), -1);
	assert_int_equal(hf3fs_iovcreate(&iov, s->dir, 4096, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, s->dir, 4, true, 0, -1), 0);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base, unknown[i], 0, 1, NULL), -EBADF);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, false, iov.base, fd, 0, 1, NULL), -EINVAL);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base - 1, fd, 0, 1, NULL), -EINVAL);
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&iov);
	close(fd);
}

static void a_wait_ends_with_its_time(void **state)
{
	const struct scratch *s = *state;
	struct timespec past = {.tv_sec = 1};
	struct hf3fs_cqe cqe;
	struct hf3fs_ior ior;

	assert_int_equal(hf3fs_iorcreate(&ior, s->dir, 4, true, 0, -1), 0);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 1, &past), 0);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 0, NULL), 0);
	/* More than there is room for cannot be waited for. */
	assert_int_equal(hf3fs_wait_for_ios(&ior, NULL, 0, 1, NULL), 0);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, -1, 0, NULL), -EINVAL);
	((struct usrbio_ring_header *)ior.iov.base)->cqe_head = -1;
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 1, NULL), -EPROTO);
	hf3fs_iordestroy(&ior);
}

/* Where the daemon keeps the semaphore of a ring with 4 entries. */
static sem_t *completed(const struct hf3fs_ior *ior)
{
	return (sem_t *)((uint8_t *)ior->iov.base + 16 + 96 * (4 + 1));
}

static void posts_without_results_do_not_prolong_a_wait(void **state)
{
	const struct scratch *s = *state;
	struct timespec past = {.tv_sec = 1};
	struct hf3fs_cqe cqe;
	struct hf3fs_ior ior;

	assert_int_equal(hf3fs_iorcreate(&ior, s->dir, 4, true, 0, -1), 0);
	sem_init(completed(&ior), 1, SEM_VALUE_MAX);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 1, &past), 0);
	hf3fs_iordestroy(&ior);
}

static void nonsense_in_the_semaphore_ends_nothing(void **state)
{
	const struct scratch *s = *state;
	struct timespec past = {.tv_sec = 1}, bad = {.tv_nsec = -1};
	struct hf3fs_cqe cqe;
	struct hf3fs_ior ior;

	assert_int_equal(hf3fs_iorcreate(&ior, s->dir, 4, true, 0, -1), 0);
	memset(completed(&ior), 0x55, sizeof(sem_t));
	memset(completed(&ior), 0, 4);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 1, &past), 0);
	assert_int_equal(hf3fs_wait_for_ios(&ior, &cqe, 1, 1, &bad), 0);
	hf3fs_iordestroy(&ior);
}

struct family {
	const struct scratch *s;
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
};

static int use_in_child(void *arg)
{
	struct family *f = arg;
	struct hf3fs_iov own;

	f->iov.base[0] = 5; /* shared */
	hf3fs_iovdestroy(&f->iov);
	hf3fs_iordestroy(&f->ior);
	if (hf3fs_iovcreate(&own, f->s->dir, 4096, 0, -1) != 0)
		return 1;
	own.base[0] = 1;
	if (scratch_links(f->s) != 3)
		return 2;
	hf3fs_iovdestroy(&own);
	return scratch_links(f->s) == 2 ? 0 : 3;
}

static void a_child_makes_its_own_and_leaves_its_parents(void **state)
{
	struct family f = {.s = *state};

	assert_int_equal(hf3fs_iovcreate(&f.iov, f.s->dir, 4096, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&f.ior, f.s->dir, 4, true, 0, -1), 0);
	assert_int_equal(in_child(use_in_child, &f), 0);
	assert_int_equal(f.iov.base[0], 5);
	assert_int_equal(scratch_links(f.s), 2);
	hf3fs_iordestroy(&f.ior);
	hf3fs_iovdestroy(&f.iov);
	assert_int_equal(scratch_links(f.s), 0);
	assert_int_equal(scratch_shm_objects(), 0);
}

#define DROPIN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int forget_a_file(void *arg)
{
	(void)arg;
	alarm(10); /* a lock that nobody can open would hold the child for ever */
	hf3fs_dereg_fd(0);
	return 0;
}

static void a_child_can_take_the_table_of_files(void **state)
{
	(void)state;
	assert_int_equal(in_child(forget_a_file, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_abi_is_the_official_one),
		cmocka_unit_test(a_child_can_take_the_table_of_files),
		DROPIN_TEST(a_buffer_keeps_its_name_until_destroyed),
		DROPIN_TEST(another_process_can_open_a_buffer),
		DROPIN_TEST(a_registration_that_leads_elsewhere_is_not_opened),
		DROPIN_TEST(rings_are_registered_with_all_their_attributes),
		DROPIN_TEST(a_priority_without_a_semaphore_is_refused),
		DROPIN_TEST(bad_arguments_are_refused),
		DROPIN_TEST(a_wrapped_buffer_is_only_described),
		DROPIN_TEST(files_off_3fs_are_not_registered),
		DROPIN_TEST(a_wait_ends_with_its_time),
		DROPIN_TEST(posts_without_results_do_not_prolong_a_wait),
		DROPIN_TEST(nonsense_in_the_semaphore_ends_nothing),
		DROPIN_TEST(a_child_makes_its_own_and_leaves_its_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

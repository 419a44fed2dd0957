/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the official library, on a real mount: everything here goes through hf3fs_*. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
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
#include "scratch.h"
#include "served.h"

enum { FILE_SIZE = 3 * 1024 * 1024 + 12345, PIECE = 256 * 1024, ENTRIES = 8, BUFFER = ENTRIES * PIECE };

static struct served mount;

static int start(void **state)
{
	(void)state;
	served_start(&mount, NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	served_wait_until_empty(&mount);
	assert_int_equal(served_stat(&mount, NULL, "violations"), 0);
	served_stop(&mount);
	return 0;
}

static int open_file(const char *name, size_t size, int flags)
{
	int fd = open(served_file(&mount, name, size), flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool same(const uint8_t *bytes, uint64_t offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != served_byte(offset + i))
			return false;
	return true;
}

/* Reads the file in pieces, ENTRIES at a time, and compares. */
static void read_all(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, int fd)
{
	struct hf3fs_cqe cqes[ENTRIES];

	for (uint64_t at = 0; at < FILE_SIZE;) {
		int n = 0;

		for (; n < ENTRIES && at < FILE_SIZE; n++, at += PIECE)
			assert_true(hf3fs_prep_io(ior, iov, true, iov->base + (size_t)n * PIECE, fd, at, PIECE,
						  (void *)(uintptr_t)at) >= 0);
		assert_int_equal(hf3fs_submit_ios(ior), 0);
		assert_int_equal(hf3fs_wait_for_ios(ior, cqes, ENTRIES, n, NULL), n);
		for (int i = 0; i < n; i++) {
			uint64_t offset = (uintptr_t)cqes[i].userdata;
			uint64_t want = FILE_SIZE - offset < PIECE ? FILE_SIZE - offset : PIECE;

			assert_int_equal(cqes[i].result, want);
			assert_true(same(iov->base + offset / PIECE % ENTRIES * PIECE, offset, want));
		}
	}
}

static void reads_whole_files_with_every_depth(void **state)
{
	static const int depths[] = {0, 1, -1, -3};
	int fd = open_file("f", FILE_SIZE, O_RDONLY);
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;

	(void)state;
	assert_true(hf3fs_is_hf3fs(fd));
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, BUFFER, PIECE, -1), 0);
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		assert_int_equal(hf3fs_iorcreate4(&ior, mount.path, ENTRIES, true, depths[i], 0, -1,
						  HF3FS_IOR_FORBID_READ_HOLES),
				 0);
		read_all(&ior, &iov, fd);
		hf3fs_iordestroy(&ior);
	}
	hf3fs_dereg_fd(fd);
	close(fd);
	hf3fs_iovdestroy(&iov);
	assert_int_equal(scratch_shm_objects(), 0);
	assert_int_equal(served_stat(&mount, NULL, "iovs"), 0);
	assert_int_equal(served_stat(&mount, NULL, "rings"), 0);
}

static void reads_with_every_priority(void **state)
{
	int fd = open_file("f", FILE_SIZE, O_RDONLY);
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;

	(void)state;
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, BUFFER, 0, 0), 0);
	for (int priority = -1; priority <= 1; priority++) {
		assert_int_equal(hf3fs_iorcreate2(&ior, mount.path, ENTRIES, true, 0, priority, -1), 0);
		read_all(&ior, &iov, fd);
		hf3fs_iordestroy(&ior);
	}
	hf3fs_dereg_fd(fd);
	close(fd);
	hf3fs_iovdestroy(&iov);
}

static void the_registered_fd_may_be_closed(void **state)
{
	int fd = open_file("f", FILE_SIZE, O_RDONLY), handle;
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;

	(void)state;
	handle = hf3fs_reg_fd(fd, 0);
	assert_true(handle < 0);
	assert_int_equal(hf3fs_reg_fd(fd, 0), EINVAL);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, BUFFER, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, mount.path, ENTRIES, true, 0, -1), 0);
	close(fd);
	read_all(&ior, &iov, handle);
	hf3fs_dereg_fd(handle);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base, handle, 0, 1, NULL), -EBADF);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base, fd, 0, 1, NULL), -EBADF);
	assert_int_equal(fcntl(-handle, F_GETFD), -1);
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&iov);
}

static void a_full_ring_and_bad_ranges_are_refused(void **state)
{
	int fd = open_file("f", FILE_SIZE, O_RDONLY);
	struct hf3fs_cqe cqes[2];
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
	uint8_t outside;

	(void)state;
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, 2ul * PIECE, PIECE, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, mount.path, 2, true, 0, -1), 0);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, &outside, fd, 0, 1, NULL), -EINVAL);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base, fd, 0, PIECE + 1, NULL), -EINVAL);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base + 1, fd, 0, UINT64_MAX, NULL), -EINVAL);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, false, iov.base, fd, 0, 1, NULL), -EINVAL);
	assert_true(hf3fs_prep_io(&ior, &iov, true, iov.base, fd, 0, PIECE, NULL) >= 0);
	assert_true(hf3fs_prep_io(&ior, &iov, true, iov.base + PIECE, fd, FILE_SIZE, PIECE, NULL) >= 0);
	assert_int_equal(hf3fs_prep_io(&ior, &iov, true, iov.base, fd, 0, 1, NULL), -EAGAIN);
	assert_int_equal(hf3fs_submit_ios(&ior), 0);
	assert_int_equal(hf3fs_wait_for_ios(&ior, cqes, 2, 2, NULL), 2);
	assert_int_equal(cqes[0].result + cqes[1].result, PIECE); /* the second is past the end */
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&iov);
	hf3fs_dereg_fd(fd);
	close(fd);
}

/* One request; its result. */
static int64_t one(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, int fd, uint64_t off, uint64_t len)
{
	struct hf3fs_cqe cqe;
	int rc = hf3fs_prep_io(ior, iov, ior->for_read, iov->base, fd, off, len, NULL);

	if (rc < 0)
		return rc;
	assert_int_equal(hf3fs_submit_ios(ior), 0);
	assert_int_equal(hf3fs_wait_for_ios(ior, &cqe, 1, 1, NULL), 1);
	assert_int_equal(cqe.index, rc);
	return cqe.result;
}

/* What lies in the backing directory: the kernel's idea of a file's size may be older than a write through a ring. */
static void assert_stored(const char *name, uint64_t off, const void *want, size_t n)
{
	char path[160], have[8192];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", mount.backing, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, have, n, (off_t)off), n);
	assert_memory_equal(have, want, n);
	close(fd);
}

static void writes(void **state)
{
	int fd = open_file("w", 0, O_RDWR);
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;

	(void)state;
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, 8192, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, mount.path, 2, false, 0, -1), 0);
	memset(iov.base, 42, 5000);
	assert_int_equal(one(&ior, &iov, fd, 0, 5000), 5000);
	assert_stored("w", 0, iov.base, 5000);
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&iov);
	hf3fs_dereg_fd(fd);
	close(fd);
}

static void obeys_the_open_mode(void **state)
{
	int write_only = open_file("w", 0, O_WRONLY), read_only = open_file("r", 0, O_RDONLY);
	struct hf3fs_ior reads, writes;
	struct hf3fs_iov iov;

	(void)state;
	assert_true(hf3fs_reg_fd(write_only, 0) <= 0);
	assert_true(hf3fs_reg_fd(read_only, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, 8192, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&writes, mount.path, 2, false, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&reads, mount.path, 2, true, 0, -1), 0);
	assert_int_equal(one(&writes, &iov, read_only, 0, 1), -EACCES);
	assert_int_equal(one(&reads, &iov, write_only, 0, 1), -EACCES);
	assert_int_equal(one(&reads, &iov, read_only, 0, 1), 0);
	hf3fs_iordestroy(&reads);
	hf3fs_iordestroy(&writes);
	hf3fs_iovdestroy(&iov);
	hf3fs_dereg_fd(read_only);
	hf3fs_dereg_fd(write_only);
	close(read_only);
	close(write_only);
}

static void a_wrapped_buffer_is_as_good(void **state)
{
	int fd = open_file("f", FILE_SIZE, O_RDONLY);
	struct hf3fs_iov iov, wrapped;
	struct hf3fs_ior ior;

	(void)state;
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, BUFFER, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, mount.path, ENTRIES, true, 0, -1), 0);
	assert_int_equal(hf3fs_iovwrap(&wrapped, iov.base, (uint8_t *)iov.id, mount.path, iov.size, iov.block_size, -1),
			 0);
	read_all(&ior, &wrapped, fd);
	hf3fs_iovdestroy(&wrapped);
	read_all(&ior, &iov, fd);
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&iov);
	hf3fs_dereg_fd(fd);
	close(fd);
}

static void a_file_of_another_mount_is_refused(void **state)
{
	struct served other;
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
	int fd;

	(void)state;
	served_start(&other, NULL);
	fd = open(served_file(&other, "f", 100), O_RDONLY | O_CLOEXEC);
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, 4096, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, mount.path, 2, true, 0, -1), 0);
	assert_int_equal(one(&ior, &iov, fd, 0, 100), -EBADF);
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&iov);
	hf3fs_dereg_fd(fd);
	close(fd);
	served_stop(&other);
}

static void finds_the_mount_point(void **state)
{
	char buf[256] = "", small[8] = "before";
	const char *path = served_file(&mount, "f", 10);
	const int len = (int)strlen(mount.path);

	(void)state;
	assert_int_equal(hf3fs_extract_mount_point(buf, sizeof(buf), path), len + 1);
	assert_string_equal(buf, mount.path);
	assert_int_equal(hf3fs_extract_mount_point(buf, len + 1, mount.path), len + 1);
	assert_int_equal(hf3fs_extract_mount_point(small, sizeof(small), path), len + 1);
	assert_string_equal(small, "before");
	assert_int_equal(hf3fs_extract_mount_point(NULL, 0, path), len + 1);
	assert_int_equal(hf3fs_extract_mount_point(buf, sizeof(buf), mount.dir), -1);
}

static void gives_a_file_a_second_name(void **state)
{
	char target[128], name[160];
	struct stat a, b;

	(void)state;
	snprintf(target, sizeof(target), "%s", served_file(&mount, "l", 100));
	snprintf(name, sizeof(name), "%s/d", mount.path);
	assert_int_equal(mkdir(name, 0755), 0);
	snprintf(name, sizeof(name), "%s/d/l2", mount.path);
	assert_int_equal(hf3fs_hardlink(target, name), 0);
	assert_int_equal(stat(target, &a), 0);
	assert_int_equal(stat(name, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(hf3fs_hardlink(target, name), EEXIST);
	assert_int_equal(hf3fs_hardlink(target, "/tmp/usrbio-test-link"), EXDEV);
}

static void punches_holes(void **state)
{
	static const uint8_t zeros[4096];
	const size_t begin = 4096, end = 8192;
	const uint8_t before = served_byte(4095), after = served_byte(8192);
	int fd = open_file("p", 20000, O_RDWR);

	(void)state;
	assert_int_equal(hf3fs_punchhole(fd, 1, &begin, &end, 0), 0);
	assert_stored("p", 4096, zeros, sizeof(zeros));
	assert_stored("p", 4095, &before, 1);
	assert_stored("p", 8192, &after, 1);
	assert_int_equal(hf3fs_punchhole(fd, 1, &end, &begin, 0), EINVAL);
	close(fd);
}

struct traffic {
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
	int fd;
	int failed;
};

enum { TRAFFIC = 2000, SMALL = 4096 };

/* Prepares and submits; the other thread waits. */
static void *send_requests(void *arg)
{
	struct traffic *t = arg;

	for (uintptr_t i = 0; i < TRAFFIC && !t->failed;) {
		int rc = hf3fs_prep_io(&t->ior, &t->iov, true, t->iov.base + i * SMALL, t->fd, i * 100, SMALL,
				       (void *)i);

		if (rc >= 0) {
			i++;
			hf3fs_submit_ios(&t->ior);
		} else if (rc == -EAGAIN) {
			usleep(50);
		} else {
			t->failed = rc;
		}
	}
	return NULL;
}

static void two_threads_share_a_ring(void **state)
{
	static uint8_t seen[TRAFFIC];
	struct traffic t = {.fd = open_file("f", FILE_SIZE, O_RDONLY)};
	struct hf3fs_cqe cqes[4];
	pthread_t sender;

	(void)state;
	assert_true(hf3fs_reg_fd(t.fd, 0) <= 0);
	assert_int_equal(hf3fs_iovcreate(&t.iov, mount.path, (size_t)TRAFFIC * SMALL, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&t.ior, mount.path, ENTRIES, true, -1, -1), 0);
	assert_int_equal(pthread_create(&sender, NULL, send_requests, &t), 0);
	for (int got = 0; got < TRAFFIC;) {
		int n = hf3fs_wait_for_ios(&t.ior, cqes, 4, 1, NULL);

		assert_true(n >= 1);
		for (int i = 0; i < n; i++) {
			assert_int_equal(cqes[i].result, SMALL);
			seen[(uintptr_t)cqes[i].userdata]++;
		}
		got += n;
	}
	pthread_join(sender, NULL);
	assert_int_equal(t.failed, 0);
	for (uint64_t i = 0; i < TRAFFIC; i++) {
		assert_int_equal(seen[i], 1);
		assert_true(same(t.iov.base + i * SMALL, i * 100, SMALL));
	}
	hf3fs_iordestroy(&t.ior);
	hf3fs_iovdestroy(&t.iov);
	hf3fs_dereg_fd(t.fd);
	close(t.fd);
}

/* Registers, tells the parent, and sleeps until it is killed. */
static void register_and_sleep(int tell)
{
	static struct hf3fs_iov iov;
	static struct hf3fs_ior ior;
	bool ok = hf3fs_iovcreate(&iov, mount.path, 65536, 0, -1) == 0 &&
		  hf3fs_iorcreate(&ior, mount.path, 4, true, 0, -1) == 0;

	if (write(tell, &ok, sizeof(ok)) == sizeof(ok))
		pause();
	_exit(1);
}

static void a_killed_process_leaves_nothing(void **state)
{
	struct hf3fs_iov iov;
	bool ok = false;
	int tell[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(tell), 0);
	pid = fork();
	if (pid == 0)
		register_and_sleep(tell[1]);
	assert_int_equal(read(tell[0], &ok, sizeof(ok)), sizeof(ok));
	assert_true(ok);
	assert_int_equal(served_stat(&mount, NULL, "iovs"), 1);
	assert_int_equal(served_stat(&mount, NULL, "rings"), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	served_wait_until_empty(&mount);
	/* The buffer's name stays, for others to open, until somebody registers again. */
	assert_int_equal(hf3fs_iovcreate(&iov, mount.path, 4096, 0, -1), 0);
	assert_int_equal(scratch_shm_objects_of(pid), 0);
	hf3fs_iovdestroy(&iov);
	close(tell[0]);
	close(tell[1]);
}

static void a_new_daemon_is_found_while_old_buffers_are_held(void **state)
{
	struct hf3fs_iov old, new;
	struct hf3fs_ior ior;
	int fd;

	(void)state;
	assert_int_equal(hf3fs_iovcreate(&old, mount.path, 4096, 0, -1), 0);
	served_kill(&mount);
	served_restart(&mount, NULL);
	assert_int_equal(hf3fs_iovcreate(&new, mount.path, BUFFER, 0, -1), 0);
	assert_int_equal(hf3fs_iorcreate(&ior, mount.path, ENTRIES, true, 0, -1), 0);
	fd = open_file("f", FILE_SIZE, O_RDONLY);
	assert_true(hf3fs_reg_fd(fd, 0) <= 0);
	read_all(&ior, &new, fd);
	hf3fs_dereg_fd(fd);
	close(fd);
	hf3fs_iordestroy(&ior);
	hf3fs_iovdestroy(&old);
	hf3fs_iovdestroy(&new);
	assert_int_equal(scratch_shm_objects(), 0);
}

#define SERVED_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED_TEST(reads_whole_files_with_every_depth),
		SERVED_TEST(reads_with_every_priority),
		SERVED_TEST(the_registered_fd_may_be_closed),
		SERVED_TEST(a_full_ring_and_bad_ranges_are_refused),
		SERVED_TEST(writes),
		SERVED_TEST(obeys_the_open_mode),
		SERVED_TEST(a_wrapped_buffer_is_as_good),
		SERVED_TEST(a_file_of_another_mount_is_refused),
		SERVED_TEST(finds_the_mount_point),
		SERVED_TEST(gives_a_file_a_second_name),
		SERVED_TEST(punches_holes),
		SERVED_TEST(two_threads_share_a_ring),
		SERVED_TEST(a_killed_process_leaves_nothing),
		SERVED_TEST(a_new_daemon_is_found_while_old_buffers_are_held),
	};

	if (emulated())
		return 77; /* every file is asked for its mount by an ioctl, and qemu passes none on that it does not
			      know */
	return cmocka_run_group_tests(tests, NULL, NULL);
}

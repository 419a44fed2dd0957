/* SPDX-License-Identifier: Apache-2.0 */
/* The static client on a real mount: whose registrations live how long, and what a daemon that hangs or dies does. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "emulated.h"
#include "err.h"
#include "scratch.h"
#include "served.h"
#include "usrbio.h"

enum { LONG_MS = 60000, SHORT_MS = 2000 };

static struct served mount;

/* What one reader has. */
struct reader {
	struct usrbio_client *client;
	struct usrbio_iov *iov;
	struct usrbio_ior *ior;
};

static int start(void **state)
{
	(void)state;
	served_start(&mount, NULL);
	return 0;
}

static int start_read_only(void **state)
{
	(void)state;
	served_start(&mount, "-o", "ro", NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	kill(mount.pid, SIGCONT); /* where a test ended in the middle */
	served_wait_until_empty(&mount);
	assert_int_equal(served_stat(&mount, NULL, "violations"), 0);
	served_stop(&mount);
	assert_int_equal(scratch_shm_objects(), 0);
	return 0;
}

static uint64_t soon(void)
{
	return fst3fs_now_ns() + LONG_MS * FST3FS_NS_PER_MS;
}

static int reader_open(struct reader *r, struct fst3fs_error *err)
{
	int rc = usrbio_client_open(mount.path, LONG_MS, &r->client, err);

	if (rc == 0)
		rc = usrbio_iov_create(r->client, 1 << 20, 0, -1, &r->iov, err);
	return rc ? rc : usrbio_ior_create(r->client, 4, 2, &r->ior, err);
}

static void reader_close(struct reader *r)
{
	usrbio_ior_destroy(r->ior);
	usrbio_iov_destroy(r->iov);
	assert_true(usrbio_client_close(r->client, soon()));
}

static int64_t read_one(struct reader *r, const char *path, uint64_t off, uint64_t len)
{
	struct usrbio_result result = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC), n;
	struct timespec deadline = fst3fs_timespec(soon());
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	/* An ioctl, and qemu passes none on that it does not know. */
	assert_true(usrbio_fd_is_3fs(fd) == 1 || emulated());
	assert_int_equal(usrbio_ior_prep(r->ior, r->iov, 0, st.st_ino, off, len, 9), 0);
	usrbio_ior_submit(r->ior);
	while ((n = usrbio_ior_reap(r->ior, &result, 1)) == 0)
		assert_int_equal(sem_clockwait(usrbio_ior_semaphore(r->ior), CLOCK_MONOTONIC, &deadline), 0);
	close(fd);
	assert_int_equal(n, 1);
	assert_int_equal(result.userdata, 9);
	return result.result;
}

static void reads_and_leaves_nothing(void **state)
{
	const char *path = served_file(&mount, "f", 300000);
	struct reader r = {0};

	(void)state;
	assert_int_equal(reader_open(&r, NULL), 0);
	assert_int_equal(served_stat(&mount, NULL, "iovs"), 1);
	assert_int_equal(served_stat(&mount, NULL, "rings"), 1);
	assert_int_equal(scratch_shm_objects(), 0);
	assert_int_equal(read_one(&r, path, 1000, 200000), 200000);
	for (uint64_t i = 0; i < 200000; i++)
		assert_int_equal(r.iov->base[i], served_byte(1000 + i));
	assert_int_equal(read_one(&r, path, 299999, 100), 1);
	assert_int_equal(read_one(&r, path, 300000, 100), 0);
	reader_close(&r);
}

static void readers_come_and_go_without_each_other(void **state)
{
	const char *path = served_file(&mount, "f", 1000);
	struct reader a = {0}, b = {0};
	struct patience p = {0};

	(void)state;
	assert_int_equal(reader_open(&a, NULL), 0);
	assert_int_equal(reader_open(&b, NULL), 0);
	reader_close(&a);
	while (served_stat(&mount, NULL, "iovs") != 1)
		patience(&p);
	assert_int_equal(served_stat(&mount, NULL, "rings"), 1);
	assert_int_equal(read_one(&b, path, 0, 1000), 1000);
	reader_close(&b);
}

static void on_a_read_only_mount_the_thread_takes_all_away(void **state)
{
	struct reader a = {0}, b = {0};

	(void)state;
	assert_int_equal(reader_open(&a, NULL), 0);
	assert_int_equal(reader_open(&b, NULL), 0);
	assert_int_equal(served_stat(&mount, NULL, "iovs"), 2);
	reader_close(&a);
	reader_close(&b);
	served_wait_until_empty(&mount);
}

/* Registers, has a child of its own that sleeps, and sleeps. */
static void register_and_sleep(int tell, bool with_child)
{
	struct reader r = {0};
	pid_t pid = 0;

	if (reader_open(&r, NULL) < 0)
		_exit(1);
	if (with_child)
		pid = fork();
	if (pid || !with_child)
		if (write(tell, &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
	pause();
	_exit(1);
}

static void kill_a_registered_process(bool with_child)
{
	pid_t pid, child = -1;
	int tell[2];

	assert_int_equal(pipe(tell), 0);
	pid = fork();
	if (pid == 0)
		register_and_sleep(tell[1], with_child);
	assert_int_equal(read(tell[0], &child, sizeof(child)), sizeof(child));
	assert_int_equal(served_stat(&mount, NULL, "iovs"), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	served_wait_until_empty(&mount);
	assert_int_equal(scratch_shm_objects_of(pid), 0);
	if (with_child)
		assert_int_equal(kill(child, SIGKILL), 0);
	close(tell[0]);
	close(tell[1]);
}

static void a_killed_process_leaves_nothing(void **state)
{
	(void)state;
	if (emulated())
		skip(); /* a child of threads has none under qemu */
	kill_a_registered_process(false);
}

static void its_children_keep_no_registration_alive(void **state)
{
	(void)state;
	if (emulated())
		skip(); /* a child of threads has none under qemu */
	kill_a_registered_process(true);
}

static void a_daemon_that_hangs_costs_the_time_out_and_nothing_else(void **state)
{
	struct usrbio_client *c, *none = NULL;
	struct usrbio_iov *iov = NULL, *kept;
	struct fst3fs_error err = {0};

	(void)state;
	assert_int_equal(usrbio_client_open(mount.path, SHORT_MS, &c, NULL), 0);
	assert_int_equal(usrbio_iov_create(c, 4096, 0, -1, &kept, NULL), 0);
	served_pause(&mount);
	assert_int_equal(usrbio_iov_create(c, 4096, 0, -1, &iov, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, mount.path));
	assert_null(iov);
	fst3fs_err_reset(&err);
	assert_int_equal(usrbio_client_open(mount.path, SHORT_MS, &none, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, mount.path));
	assert_null(none);
	assert_int_equal(usrbio_client_probe(c, NULL), 0);
	usrbio_iov_destroy(kept);
	assert_int_equal(scratch_shm_objects(), 0);
	assert_false(usrbio_client_close(c, fst3fs_now_ns() + FST3FS_NS_PER_MS));
	/* When it comes back, what nobody waited for is undone. */
	kill(mount.pid, SIGCONT);
	served_wait_until_empty(&mount);
}

static void a_daemon_that_died_is_noticed(void **state)
{
	struct usrbio_client *c;
	struct usrbio_iov *iov;
	struct fst3fs_error err = {0};
	sem_t told;

	(void)state;
	sem_init(&told, 0, 0);
	assert_int_equal(usrbio_client_open(mount.path, LONG_MS, &c, NULL), 0);
	assert_int_equal(usrbio_client_probe(c, &told), 0);
	served_kill(&mount);
	while (usrbio_client_probe(c, &told) == 0)
		usleep(1000);
	assert_int_equal(usrbio_client_probe(c, &told), -ENOTCONN);
	assert_int_equal(sem_wait(&told), 0);
	assert_int_equal(usrbio_iov_create(c, 4096, 0, -1, &iov, &err), -ENOTCONN);
	assert_non_null(strstr(err.text, "daemon is gone"));
	assert_true(usrbio_client_close(c, soon()));
	sem_destroy(&told);
	served_restart(&mount, NULL);
}

#define SERVED_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED_TEST(reads_and_leaves_nothing),
		SERVED_TEST(readers_come_and_go_without_each_other),
		cmocka_unit_test_setup_teardown(on_a_read_only_mount_the_thread_takes_all_away, start_read_only, stop),
		SERVED_TEST(a_killed_process_leaves_nothing),
		SERVED_TEST(its_children_keep_no_registration_alive),
		SERVED_TEST(a_daemon_that_hangs_costs_the_time_out_and_nothing_else),
		SERVED_TEST(a_daemon_that_died_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

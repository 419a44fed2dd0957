/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that lie: each is refused and counted, and the daemon serves the next one as before. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cm.h"
#include "emulated.h"
#include "raw.h"

enum {
	KIB = 1024,
};

static struct served mount;
static struct raw_shm buf;
static struct raw_ring ring;
static uint64_t ino;
static int fd;

static int group_setup(void **state)
{
	(void)state;
	served_start(&mount, "--latency-us", "100", NULL);
	served_file(&mount, "file", 256 * KIB);
	fd = raw_open(&mount, "file", &ino);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	close(fd);
	served_stop(&mount);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	raw_shm_make(&buf, 128 * KIB);
	assert_int_equal(raw_register(&mount, &buf, ".b65536"), 0);
	assert_int_equal(raw_ring_make(&mount, &ring, 8, ".r1.t0"), 0);
	return 0;
}

/* Whatever was done before: an honest client is served. */
static void assert_still_serves(void)
{
	struct raw_shm b;
	struct raw_ring r;

	raw_shm_make(&b, 64 * KIB);
	assert_int_equal(raw_register(&mount, &b, ""), 0);
	assert_int_equal(raw_ring_make(&mount, &r, 4, ".r1.t0"), 0);
	raw_prep(&r, &b, 0, ino, 3, 64 * KIB);
	raw_post(&r);
	assert_int_equal(raw_wait(&r).result, 64 * KIB);
	assert_int_equal(b.base[64 * KIB - 1], served_byte(3 + 64 * KIB - 1));
	raw_ring_drop(&mount, &r);
	assert_int_equal(raw_unregister(&mount, &b), 0);
	raw_shm_drop(&b);
}

static int teardown(void **state)
{
	(void)state;
	assert_still_serves();
	raw_ring_drop(&mount, &ring);
	raw_unregister(&mount, &buf);
	raw_shm_drop(&buf);
	return 0;
}

static int64_t ask(uint64_t buf_off, uint64_t file_ino, uint64_t off, uint64_t len)
{
	raw_prep(&ring, &buf, buf_off, file_ino, off, len);
	raw_post(&ring);
	return raw_wait(&ring).result;
}

static void bad_ranges_of_the_buffer_are_invalid(void **state)
{
	static const struct {
		uint64_t off, len;
	} cases[] = {
		{0, 128 * KIB + 1}, {128 * KIB, 1},    {128 * KIB + 1, 0}, {UINT64_MAX, 1},	     {1, UINT64_MAX},
		{0, 64 * KIB + 1},  {64 * KIB - 1, 2}, {0, 128 * KIB},	   {1ull << 63, 1ull << 63},
	};
	long before = served_stat(&mount, "violations_by_kind", "range");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(ask(cases[i].off, ino, 0, cases[i].len), -EINVAL);
	assert_int_equal(served_stat(&mount, "violations_by_kind", "range") - before, sizeof(cases) / sizeof(cases[0]));
	assert_int_equal(ask(64 * KIB, ino, 0, 64 * KIB), 64 * KIB);
}

static void bad_file_offsets_are_invalid(void **state)
{
	(void)state;
	assert_int_equal(ask(0, ino, UINT64_MAX, 1), -EINVAL);
	assert_int_equal(ask(0, ino, INT64_MAX, 1), -EINVAL);
	assert_int_equal(ask(0, ino, INT64_MAX - 1, 1), 0);
}

static void files_that_are_not_open_are_bad(void **state)
{
	uint64_t other;
	int fd2;

	(void)state;
	served_file(&mount, "other", 100);
	fd2 = raw_open(&mount, "other", &other);
	assert_int_equal(ask(0, other, 0, 100), 100);
	close(fd2);
	/* The kernel tells the daemon of the close in its own time. */
	for (int i = 0; i < 200 && ask(0, other, 0, 100) != -EBADF; i++)
		usleep(10000);
	assert_int_equal(ask(0, other, 0, 100), -EBADF);
	assert_int_equal(ask(0, 0, 0, 100), -EBADF);
	assert_int_equal(ask(0, 1, 0, 100), -EBADF);
	assert_int_equal(ask(0, UINT64_MAX, 0, 100), -EBADF);
	assert_int_equal(ask(0, 1ull << 62, 0, 100), -EBADF);
}

static void unknown_buffers_are_invalid(void **state)
{
	struct raw_shm unknown = buf;

	(void)state;
	unknown.id[3] ^= 1;
	raw_prep(&ring, &unknown, 0, ino, 0, 10);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, -EINVAL);
	/* A ring's memory is no buffer. */
	raw_prep(&ring, &ring.shm, 0, ino, 0, 10);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, -EINVAL);
}

static void impossible_submissions_are_invalid(void **state)
{
	static const int indices[] = {-1, 9, 1000000, INT_MAX, INT_MIN};
	long before = served_stat(&mount, "violations_by_kind", "index");

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		int head = ring.header->sqe_head;

		raw_prep(&ring, &buf, 0, ino, 0, 10);
		ring.sqes[head].index = indices[i];
		/* The daemon looked at nothing yet: only a post makes it. */
		raw_post(&ring);
		assert_int_equal(raw_wait(&ring).result, -EINVAL);
	}
	assert_int_equal(served_stat(&mount, "violations_by_kind", "index") - before, 5);
}

static void assert_refused(const char *kind, long before)
{
	raw_post(&ring);
	assert_true(raw_quiet(&ring));
	assert_int_equal(served_stat(&mount, "violations_by_kind", kind), before + 1);
	/* For good: honest values come too late. */
	raw_post(&ring);
	assert_true(raw_quiet(&ring));
	assert_int_equal(served_stat(&mount, "violations_by_kind", kind), before + 1);
}

static void a_garbage_head_ends_the_ring(void **state)
{
	long before = served_stat(&mount, "violations_by_kind", "header");

	(void)state;
	raw_prep(&ring, &buf, 0, ino, 0, 10);
	ring.header->sqe_head = 0x7fffffff;
	assert_refused("header", before);
}

static void a_negative_tail_ends_the_ring(void **state)
{
	long before = served_stat(&mount, "violations_by_kind", "header");

	(void)state;
	raw_prep(&ring, &buf, 0, ino, 0, 10);
	ring.header->cqe_tail = -1;
	raw_post(&ring);
	usleep(200000);
	assert_int_equal(served_stat(&mount, "violations_by_kind", "header"), before + 1);
	ring.header->cqe_tail = 0;
	assert_refused("header", before);
}

/* The daemon's own indices are its own, whatever is written over them. */
static void overwritten_daemon_indices_do_not_matter(void **state)
{
	(void)state;
	ring.header->sqe_tail = 12345;
	ring.header->cqe_head = -7;
	raw_prep(&ring, &buf, 0, ino, 0, 10);
	ring.header->sqe_tail = INT_MIN;
	raw_post(&ring);
	usleep(200000);
	assert_int_equal(ring.header->sqe_tail, 1);
	assert_int_equal(ring.header->cqe_head, 1);
	assert_int_equal(ring.cqes[0].result, 10);
	ring.header->cqe_tail = 1;
}

static void a_truncated_ring_is_refused(void **state)
{
	struct raw_ring victim;
	long before = served_stat(&mount, "violations_by_kind", "memory");

	(void)state;
	assert_int_equal(raw_ring_make(&mount, &victim, 64, ".r1.t0"), 0);
	raw_prep(&victim, &buf, 0, ino, 0, 10);
	assert_int_equal(truncate(victim.shm.name, 0), 0);
	raw_post(&victim);
	usleep(200000);
	assert_int_equal(served_stat(&mount, "violations_by_kind", "memory"), before + 1);
	raw_unregister(&mount, &victim.shm);
	sem_close(victim.submit);
	raw_shm_drop(&victim.shm);
}

static void a_truncated_buffer_is_a_bad_address(void **state)
{
	(void)state;
	assert_int_equal(truncate(buf.name, 4096), 0);
	assert_int_equal(ask(0, ino, 0, 4096), 4096);
	assert_int_equal(ask(0, ino, 0, 8192), -EFAULT);
	assert_int_equal(ask(64 * KIB, ino, 0, 10), -EFAULT);
}

static void a_truncated_submit_semaphore_ends_nothing_else(void **state)
{
	char path[160], target[160] = {0};

	(void)state;
	/* That of low priority: nobody else uses it here. */
	snprintf(path, sizeof(path), "%s/" USRBIO_IOVS_DIR "/submit-ios.pl", mount.path);
	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	assert_int_equal(truncate(target, 0), 0);
}

/* For glibc's sem_post() and sem_wait() that ends a process. */
static void spoil(sem_t *sem)
{
	memset((uint8_t *)sem + 4, 0x55, sizeof(*sem) - 4);
}

static void nonsense_in_a_rings_semaphore_ends_nothing_else(void **state)
{
	struct usrbio_cqe cqe;

	(void)state;
	spoil(ring.completed);
	raw_prep(&ring, &buf, 0, ino, 0, 10);
	raw_post(&ring);
	for (int i = 0; i < 2000 && !raw_reap(&ring, &cqe); i++)
		usleep(10000);
	assert_int_equal(cqe.result, 10);
}

static void nonsense_in_a_submit_semaphore_ends_nothing_else(void **state)
{
	struct raw_ring low;

	(void)state;
	assert_int_equal(raw_ring_make(&mount, &low, 4, ".r1.pl.t0"), 0);
	spoil(low.submit);
	/* So long that its watcher, which sleeps for 200 ms at a time, has looked at it. */
	usleep(500000);
	raw_ring_drop(&mount, &low);
}

static int symlink_to(const char *target, const char *attributes)
{
	struct raw_shm s = {0};

	snprintf(s.name, sizeof(s.name), "%s", target);
	s.id[0] = 0x77;
	return raw_register(&mount, &s, attributes);
}

static void objects_that_are_no_shared_memory_are_refused(void **state)
{
	struct raw_shm s;

	(void)state;
	assert_int_equal(symlink_to("/etc/passwd", ""), -EINVAL);
	assert_int_equal(symlink_to("/dev/shm/../../etc/passwd", ""), -EINVAL);
	assert_int_equal(symlink_to("/dev/shm/", ""), -EINVAL);
	assert_int_equal(symlink_to("/dev/shm/..", ""), -EINVAL);
	assert_int_equal(symlink_to("/dev/shm/no-such-object-here", ""), -ENOENT);
	raw_shm_make(&s, 4096);
	assert_int_equal(raw_register(&mount, &s, ".b4097"), -EINVAL);
	assert_int_equal(raw_register(&mount, &s, ".r1"), -EINVAL);
	assert_int_equal(raw_register(&mount, &s, ".r1.t0"), -EINVAL);
	assert_int_equal(raw_register(&mount, &s, ".nonsense"), -EINVAL);
	assert_int_equal(raw_register(&mount, &s, ".b4096"), 0);
	assert_int_equal(raw_register(&mount, &s, ""), -EEXIST);
	assert_int_equal(raw_register(&mount, &s, ".b4096"), -EEXIST);
	assert_int_equal(raw_unregister(&mount, &s), 0);
	assert_int_equal(raw_unregister(&mount, &s), -ENOENT);
	raw_shm_drop(&s);
}

static void a_depth_larger_than_the_ring_is_refused(void **state)
{
	struct raw_ring r;

	(void)state;
	assert_int_equal(raw_ring_make(&mount, &r, 4, ".r5.t0"), -EINVAL);
	assert_int_equal(raw_ring_make(&mount, &r, 4, ".r4.t0"), 0);
	raw_ring_drop(&mount, &r);
}

/* A sparse object costs its maker nothing; the daemon would need memory for as many requests as are said to be queued.
 */
static void a_ring_of_absurd_size_is_refused(void **state)
{
	struct raw_ring r;

	(void)state;
	if (emulated())
		skip(); /* qemu maps no object of that size */
	assert_int_equal(raw_ring_make(&mount, &r, 1 << 30, ".r0.t0"), -EINVAL);
}

static void more_than_the_ring_holds_is_counted(void **state)
{
	struct raw_ring r;
	long before = served_stat(&mount, "violations_by_kind", "overrun");

	(void)state;
	assert_int_equal(raw_ring_make(&mount, &r, 4, ".r0.t0"), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++)
			raw_prep(&r, &buf, 0, ino, 0, 10);
		raw_post(&r);
		usleep(200000);
	}
	assert_true(served_stat(&mount, "violations_by_kind", "overrun") > before);
	for (int i = 0; i < 4; i++)
		assert_int_equal(raw_wait(&r).result, 10);
	/* Room again: the post after reaping gets the rest going. */
	raw_post(&r);
	for (int i = 0; i < 4; i++)
		assert_int_equal(raw_wait(&r).result, 10);
	raw_ring_drop(&mount, &r);
}

static int touch_the_key(void)
{
	char path[320];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" USRBIO_IOVS_DIR "/%s", mount.path, buf.key);
	if (lstat(path, &st) == 0 || errno != EACCES)
		return 1;
	if (unlink(path) == 0 || errno != EACCES)
		return 2;
	/* Nor can it register what it may not open. */
	snprintf(path, sizeof(path), "%s/" USRBIO_IOVS_DIR "/77777777-0000-0000-0000-000000000000", mount.path);
	return symlink(buf.name, path) == 0 || errno != EACCES ? 3 : 0;
}

static int read_into_the_buffer(void)
{
	struct raw_ring r;
	int64_t result;

	if (raw_ring_make(&mount, &r, 4, ".r1.t0"))
		return 1;
	raw_prep(&r, &buf, 0, ino, 0, 10);
	raw_post(&r);
	result = raw_wait(&r).result;
	raw_ring_drop(&mount, &r);
	return result == -EACCES ? 0 : 2;
}

static void other_users_are_kept_out(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(raw_as_nobody(touch_the_key), 0);
	assert_int_equal(raw_as_nobody(read_into_the_buffer), 0);
	assert_int_equal(ask(0, ino, 0, 10), 10);
}

#define LIE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIE(bad_ranges_of_the_buffer_are_invalid),
		LIE(bad_file_offsets_are_invalid),
		LIE(files_that_are_not_open_are_bad),
		LIE(unknown_buffers_are_invalid),
		LIE(impossible_submissions_are_invalid),
		LIE(a_garbage_head_ends_the_ring),
		LIE(a_negative_tail_ends_the_ring),
		LIE(overwritten_daemon_indices_do_not_matter),
		LIE(a_truncated_ring_is_refused),
		LIE(a_truncated_buffer_is_a_bad_address),
		LIE(nonsense_in_a_rings_semaphore_ends_nothing_else),
		LIE(nonsense_in_a_submit_semaphore_ends_nothing_else),
		LIE(a_truncated_submit_semaphore_ends_nothing_else),
		LIE(objects_that_are_no_shared_memory_are_refused),
		LIE(a_depth_larger_than_the_ring_is_refused),
		LIE(a_ring_of_absurd_size_is_refused),
		LIE(more_than_the_ring_holds_is_counted),
		LIE(other_users_are_kept_out),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What clients may make the daemon hold: each bound is told by an errno, counted, and no other user's to feel. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cm.h"
#include "emulated.h"
#include "raw.h"

enum {
	KIB = 1024,
	CHUNK = 4 * KIB,
	/* As in usrbiod(1). */
	USER_BUFFERS = 8192,
	USER_RINGS = 1024,
	USER_REQUESTS = 1 << 20,
	PIECES = 1 << 20,
};

static struct served mount;
static struct raw_shm buf;
static struct raw_ring ring;
static uint64_t ino;
static int fd, dir;

static void start(size_t file_size, size_t buffer_size)
{
	char path[320];

	served_file(&mount, "file", file_size);
	fd = raw_open(&mount, "file", &ino);
	raw_shm_make(&buf, buffer_size);
	assert_int_equal(raw_register(&mount, &buf, ""), 0);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0"), 0);
	snprintf(path, sizeof(path), "%s/" USRBIO_IOVS_DIR, mount.path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
}

/* Closing the directory takes away what was registered. */
static void stop(void)
{
	close(fd);
	sem_close(ring.submit);
	raw_shm_drop(&ring.shm);
	raw_shm_drop(&buf);
	close(dir);
	served_wait_until_empty(&mount);
	served_stop(&mount);
}

static void assert_reads(struct raw_ring *r)
{
	raw_prep(r, &buf, 0, ino, 3, KIB);
	raw_post(r);
	assert_int_equal(raw_wait(r).result, KIB);
	assert_int_equal(buf.base[KIB - 1], served_byte(3 + KIB - 1));
}

/* The same object under one name after another, until the daemon refuses it; how often it did not. */
static int register_until_refused(struct raw_shm *s, const char *attributes, int most, int *rc)
{
	int n = 0;

	do {
		memcpy(s->id, &n, sizeof(n));
		*rc = raw_register(&mount, s, attributes);
	} while (*rc == 0 && ++n < most);
	return n;
}

static int another_user_registers(void)
{
	struct raw_shm s;
	struct raw_ring r;

	raw_shm_make(&s, 4 * KIB);
	if (raw_register(&mount, &s, "") || raw_ring_make(&mount, &r, 4, ".r1.t0"))
		return 1;
	raw_ring_drop(&mount, &r);
	raw_unregister(&mount, &s);
	raw_shm_drop(&s);
	return 0;
}

static void assert_another_user_can(void)
{
	assert_int_equal(raw_as_nobody(another_user_registers), 0);
}

/* The bound of a user, one of whom has something registered already. */
static void assert_bounded(const char *attributes, size_t size, int bound)
{
	struct raw_shm s;
	int rc;

	served_start(&mount, NULL);
	start(64 * KIB, 64 * KIB);
	raw_shm_make(&s, size);
	assert_int_equal(register_until_refused(&s, attributes, 2 * bound, &rc), bound - 1);
	assert_int_equal(rc, -EMFILE);
	assert_int_equal(served_stat(&mount, "violations_by_kind", "bound"), 1);
	assert_another_user_can();
	assert_reads(&ring);
	raw_shm_drop(&s);
	stop();
}

static void a_user_has_so_many_buffers_and_no_more(void **state)
{
	(void)state;
	if (geteuid() != 0 || emulated())
		skip();
	assert_bounded("", 4 * KIB, USER_BUFFERS);
}

static void a_user_has_so_many_rings_and_no_more(void **state)
{
	(void)state;
	if (geteuid() != 0 || emulated())
		skip();
	assert_bounded(".r1.t0", raw_ring_size(1), USER_RINGS);
}

/* The rings are sparse and cost their maker nothing; their requests would cost the daemon memory. */
static void all_rings_of_a_user_have_room_for_so_many_requests(void **state)
{
	struct raw_ring large, more;

	(void)state;
	if (geteuid() != 0 || emulated())
		skip();
	served_start(&mount, NULL);
	start(64 * KIB, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &large, USER_REQUESTS - 4, ".r1.t0"), 0);
	assert_int_equal(raw_ring_make(&mount, &more, 1, ".r1.t0"), -EMFILE);
	assert_int_equal(served_stat(&mount, "violations_by_kind", "bound"), 1);
	assert_another_user_can();
	assert_reads(&large);
	raw_ring_drop(&mount, &large);
	assert_int_equal(raw_ring_make(&mount, &more, 1, ".r1.t0"), 0);
	raw_ring_drop(&mount, &more);
	stop();
}

/* A job keeps its place in the queue until those before it have completed: who overtakes the queue's tail would have
 * the daemon keep jobs without end. */
static void a_head_that_overtakes_the_tail_ends_the_ring(void **state)
{
	long before;

	(void)state;
	served_start(&mount, "--hang-every", "5", NULL);
	start(64 * KIB, 64 * KIB);
	for (int i = 0; i < 4; i++)
		assert_reads(&ring);
	raw_prep(&ring, &buf, 0, ino, 0, KIB);
	raw_post(&ring);
	assert_true(raw_quiet(&ring)); /* it hangs, and all that follow wait for it in the queue */
	for (int i = 0; i < 3; i++)
		assert_reads(&ring);
	before = served_stat(&mount, "violations_by_kind", "header");
	raw_prep(&ring, &buf, 0, ino, 0, KIB);
	raw_post(&ring);
	assert_true(raw_quiet(&ring));
	assert_int_equal(served_stat(&mount, "violations_by_kind", "header"), before + 1);
	stop();
}

/* What a request is cut into takes memory: more of it than there is for all together is refused, and small ones are
 * not. */
static void a_request_of_too_many_pieces_is_refused(void **state)
{
	const size_t most = (size_t)PIECES * CHUNK;
	char path[160];

	(void)state;
	if (emulated())
		skip(); /* qemu maps no object of that size */
	served_start(&mount, "--chunk-kb", "4", "--null", NULL);
	start(64 * KIB, most + CHUNK);
	snprintf(path, sizeof(path), "%s/file", mount.backing);
	assert_int_equal(truncate(path, (off_t)(most + CHUNK)), 0);
	raw_prep(&ring, &buf, 0, ino, 0, most);
	raw_prep(&ring, &buf, 0, ino, 0, most + CHUNK);
	raw_prep(&ring, &buf, 0, ino, 0, CHUNK);
	raw_post(&ring);
	for (int i = 0; i < 3; i++) {
		struct usrbio_cqe cqe = raw_wait(&ring);

		assert_int_equal(cqe.result, cqe.userdata == 1000   ? (int64_t)most
					     : cqe.userdata == 1001 ? -ENOBUFS
								    : CHUNK);
	}
	assert_int_equal(served_stat(&mount, "violations_by_kind", "bound"), 1);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_has_so_many_buffers_and_no_more),
		cmocka_unit_test(a_user_has_so_many_rings_and_no_more),
		cmocka_unit_test(all_rings_of_a_user_have_room_for_so_many_requests),
		cmocka_unit_test(a_head_that_overtakes_the_tail_ends_the_ring),
		cmocka_unit_test(a_request_of_too_many_pieces_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

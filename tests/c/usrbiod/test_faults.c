/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in simulated time, and the faults made on purpose. Each test has a daemon of its own. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cm.h"
#include "raw.h"

enum {
	KIB = 1024,
	MIB = 1024 * KIB,
};

static struct served mount_;

static struct raw_shm buf;
static struct raw_ring ring;
static uint64_t ino;
static int fd;

static void client_start(size_t file_bytes, size_t buf_bytes, int entries, const char *attributes)
{
	served_file(&mount_, "file", file_bytes);
	fd = raw_open(&mount_, "file", &ino);
	raw_shm_make(&buf, buf_bytes);
	assert_int_equal(raw_register(&mount_, &buf, ""), 0);
	assert_int_equal(raw_ring_make(&mount_, &ring, entries, attributes), 0);
}

static void client_stop(void)
{
	close(fd);
	raw_ring_drop(&mount_, &ring);
	assert_int_equal(raw_unregister(&mount_, &buf), 0);
	raw_shm_drop(&buf);
}

static void each_nth_request_fails(void **state)
{
	(void)state;
	served_start(&mount_, "--fail-every", "3", "--short-every", "4", NULL);
	client_start(64 * KIB, 64 * KIB, 4, ".r1.t0");
	for (int i = 1; i <= 12; i++) {
		raw_prep(&ring, &buf, 0, ino, 0, 1000);
		raw_post(&ring);
		assert_int_equal(raw_wait(&ring).result, i % 3 == 0 ? -EREMOTEIO : i % 4 == 0 ? 500 : 1000);
	}
	client_stop();
	served_stop(&mount_);
}

static void a_hung_request_holds_nobody_else_up(void **state)
{
	int in_time = 0;

	(void)state;
	served_start(&mount_, "--hang-every", "3", NULL);
	client_start(64 * KIB, 64 * KIB, 16, ".r1.t0");
	for (int i = 0; i < 9; i++)
		raw_prep(&ring, &buf, 0, ino, 0, 1000);
	raw_post(&ring);
	while (in_time < 6) {
		assert_int_equal(raw_wait(&ring).result, 1000);
		in_time++;
	}
	assert_true(raw_quiet(&ring));
	assert_int_equal(served_stat(&mount_, "in_flight", "now"), 3);
	/* The oldest of them holds the queue's tail. */
	assert_true(ring.header->sqe_tail <= 2);
	client_stop();
	served_stop(&mount_);
}

static void completions_out_of_order_keep_the_queues_order(void **state)
{
	enum { WINDOW = 15, ROUNDS = 200, PIECE = 8 * KIB, FILE_BYTES = 2 * MIB + 777 };
	struct usrbio_cqe cqe;
	int sent = 0, got = 0, busy[WINDOW + 1] = {0};
	uint64_t offs[WINDOW + 1];

	(void)state;
	served_start(&mount_, "--latency-us", "100", "--jitter-us", "3000", NULL);
	client_start(FILE_BYTES, (WINDOW + 1) * PIECE, WINDOW, ".r-2.t0");
	while (got < ROUNDS) {
		/* Args slots are used in turn, so the next one must be free, and the queue not full. */
		while (sent < ROUNDS && !busy[ring.next_arg] &&
		       (ring.header->sqe_head + 1) % ring.slots !=
			       __atomic_load_n(&ring.header->sqe_tail, __ATOMIC_SEQ_CST) &&
		       sent - got < WINDOW) {
			int slot = ring.next_arg;

			offs[slot] = (uint64_t)sent * 10007 % (FILE_BYTES - PIECE);
			busy[slot] = 1;
			raw_prep(&ring, &buf, (uint64_t)slot * PIECE, ino, offs[slot], PIECE);
			sent++;
		}
		raw_post(&ring);
		cqe = raw_wait(&ring);
		assert_int_equal(cqe.result, PIECE);
		assert_int_equal(busy[cqe.index], 1);
		for (int i = 0; i < PIECE; i++)
			assert_int_equal(buf.base[cqe.index * PIECE + i], served_byte(offs[cqe.index] + (uint64_t)i));
		busy[cqe.index] = 0;
		got++;
	}
	assert_int_equal(served_stat(&mount_, NULL, "violations"), 0);
	client_stop();
	served_stop(&mount_);
}

static void null_counts_and_moves_nothing(void **state)
{
	(void)state;
	served_start(&mount_, "--null", "--job-mbps", "500", NULL);
	client_start(64 * KIB, 64 * KIB, 4, ".r1.t0");
	memset(buf.base, 0xee, buf.size);
	raw_prep(&ring, &buf, 0, ino, 60 * KIB, 64 * KIB);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, 4 * KIB);
	assert_int_equal(buf.base[0], 0xee);
	assert_int_equal(served_stat(&mount_, NULL, "bytes"), 4 * KIB);
	client_stop();
	served_stop(&mount_);
}

/* More jobs than workers: the rest wait for their turn, and all are done. */
static void few_workers_serve_many_jobs(void **state)
{
	(void)state;
	served_start(&mount_, "--workers", "1", "--latency-us", "200", NULL);
	client_start(64 * KIB, 64 * KIB, 63, ".r1.t0");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 63; i++)
			raw_prep(&ring, &buf, 0, ino, (uint64_t)i, 1000);
		raw_post(&ring);
		for (int i = 0; i < 63; i++)
			assert_int_equal(raw_wait(&ring).result, 1000);
	}
	assert_int_equal(served_stat(&mount_, "in_flight", "now"), 0);
	client_stop();
	served_stop(&mount_);
}

static void a_ring_dropped_in_flight_ends_quietly(void **state)
{
	(void)state;
	served_start(&mount_, "--latency-us", "300000", NULL);
	client_start(64 * KIB, 64 * KIB, 4, ".r1.t0");
	raw_prep(&ring, &buf, 0, ino, 0, 1000);
	raw_post(&ring);
	while (served_stat(&mount_, "in_flight", "now") == 0)
		usleep(1000);
	client_stop();
	while (served_stat(&mount_, "in_flight", "now") != 0)
		usleep(10000);
	served_stop(&mount_);
}

static void a_busy_daemon_still_ends(void **state)
{
	(void)state;
	served_start(&mount_, "--hang-every", "1", "--meta-latency-us", "1000", NULL);
	client_start(64 * KIB, 64 * KIB, 8, ".r0.t0");
	for (int i = 0; i < 8; i++)
		raw_prep(&ring, &buf, 0, ino, 0, 1000);
	raw_post(&ring);
	while (served_stat(&mount_, "in_flight", "now") != 8)
		usleep(1000);
	/* With the file open, the buffer registered, and requests that never end. */
	served_stop(&mount_);
	close(fd);
	sem_close(ring.submit);
	raw_shm_drop(&ring.shm);
	raw_shm_drop(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_nth_request_fails),
		cmocka_unit_test(a_hung_request_holds_nobody_else_up),
		cmocka_unit_test(completions_out_of_order_keep_the_queues_order),
		cmocka_unit_test(null_counts_and_moves_nothing),
		cmocka_unit_test(few_workers_serve_many_jobs),
		cmocka_unit_test(a_ring_dropped_in_flight_ends_quietly),
		cmocka_unit_test(a_busy_daemon_still_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

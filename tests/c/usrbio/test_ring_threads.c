/* SPDX-License-Identifier: Apache-2.0 */
/* One thread prepares, one reaps, one is the daemon and finishes out of order: every request comes back once. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "peer.h"

enum { ENTRIES = 8, REQUESTS = 20000, WINDOW = 3 };

struct run {
	struct peer peer;
	struct usrbio_ring ring;
	int prepare_failed; /* an error other than a full ring */
	uint8_t seen[REQUESTS];
	int64_t result[REQUESTS];
};

static void *prepare(void *arg)
{
	struct run *run = arg;

	for (uint64_t i = 0; i < REQUESTS;) {
		const struct usrbio_arg req = {.len = i + 1, .userdata = i};
		int rc = usrbio_ring_prep(&run->ring, &req);

		if (rc >= 0) {
			i++;
		} else if (rc == -EAGAIN) {
			sched_yield();
		} else {
			run->prepare_failed = rc;
			break;
		}
	}
	return NULL;
}

/* Takes up to WINDOW requests, and completes them last first. */
static void *serve(void *arg)
{
	struct run *run = arg;
	int32_t slot[WINDOW];
	int done = 0;

	while (done < REQUESTS) {
		int n = 0;

		while (n < WINDOW && (slot[n] = peer_take(&run->peer)) >= 0)
			n++;
		for (int i = n - 1; i >= 0; i--)
			peer_complete(&run->peer, slot[i], (int64_t)run->peer.args[slot[i]].len);
		peer_advance(&run->peer, n);
		done += n;
		if (n == 0)
			sched_yield();
	}
	return NULL;
}

static int reap_all(struct run *run)
{
	struct usrbio_cqe cqes[4];
	int got = 0;

	while (got < REQUESTS) {
		int n = usrbio_ring_reap(&run->ring, cqes, 4);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			run->seen[cqes[i].userdata]++;
			run->result[cqes[i].userdata] = cqes[i].result;
		}
		got += n;
		if (n == 0)
			sched_yield();
	}
	return got;
}

static void every_request_comes_back_once(void **state)
{
	static struct run run;
	pthread_t preparer, server;

	(void)state;
	peer_make(&run.peer, ENTRIES);
	assert_int_equal(usrbio_ring_init(&run.ring, run.peer.mem, run.peer.size), 0);
	assert_int_equal(pthread_create(&preparer, NULL, prepare, &run), 0);
	assert_int_equal(pthread_create(&server, NULL, serve, &run), 0);
	assert_int_equal(reap_all(&run), REQUESTS);
	pthread_join(preparer, NULL);
	pthread_join(server, NULL);
	assert_int_equal(run.prepare_failed, 0);
	for (int i = 0; i < REQUESTS; i++) {
		assert_int_equal(run.seen[i], 1);
		assert_int_equal(run.result[i], i + 1);
	}
	assert_int_equal(usrbio_ring_outstanding(&run.ring), 0);
	usrbio_ring_fini(&run.ring);
	peer_free(&run.peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_request_comes_back_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

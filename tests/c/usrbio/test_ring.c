/* SPDX-License-Identifier: Apache-2.0 */
/* The client's end of a ring, against a daemon played in the same process: an honest one and a lying one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "peer.h"

enum { ENTRIES = 4 };

struct fixture {
	struct peer peer;
	struct usrbio_ring ring;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	peer_make(&f->peer, ENTRIES);
	assert_int_equal(usrbio_ring_size(ENTRIES), f->peer.size);
	assert_int_equal(usrbio_ring_init(&f->ring, f->peer.mem, f->peer.size), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	usrbio_ring_fini(&f->ring);
	peer_free(&f->peer);
	free(f);
	return 0;
}

static int prep(struct fixture *f, uint64_t userdata)
{
	const struct usrbio_arg arg = {
		.buf_id = {1, 2, 3}, .buf_off = 5, .file_ino = 6, .file_off = 7, .len = 100, .userdata = userdata};

	return usrbio_ring_prep(&f->ring, &arg);
}

/* Reaps one completion, which must be there. */
static struct usrbio_cqe reap_one(struct fixture *f)
{
	struct usrbio_cqe cqe = {.index = -1};

	assert_int_equal(usrbio_ring_reap(&f->ring, &cqe, 1), 1);
	return cqe;
}

static void both_ends_derive_the_same_layout(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->ring.slots, ENTRIES + 1);
	assert_int_equal(f->ring.slots, f->peer.slots);
	assert_ptr_equal(f->ring.args, f->peer.args);
	assert_ptr_equal(f->ring.cqes, f->peer.cqes);
	assert_ptr_equal(f->ring.sqes, f->peer.sqes);
	assert_ptr_equal(f->ring.done, f->peer.sem);
}

static void sizes_out_of_range_have_no_ring(void **state)
{
	struct usrbio_ring ring;
	char small[64];

	(void)state;
	assert_int_equal(usrbio_ring_size(0), 0);
	assert_int_equal(usrbio_ring_size(-1), 0);
	assert_int_equal(usrbio_ring_size(INT32_MAX), 0);
	assert_int_equal(usrbio_ring_size(1), 16 + 32 + 4096 + 2 * 96);
	assert_int_equal(usrbio_ring_init(&ring, small, sizeof(small)), -EINVAL);
}

static void a_request_arrives_as_it_was_made(void **state)
{
	struct fixture *f = *state;
	struct usrbio_cqe cqe;
	int slot = prep(f, 42);
	struct usrbio_arg *arg;

	assert_in_range(slot, 0, ENTRIES);
	assert_int_equal(f->peer.hdr->sqe_head, 1);
	assert_int_equal(f->peer.sqes[0].userdata, 42);
	assert_int_equal(peer_take(&f->peer), slot);
	arg = &f->peer.args[slot];
	assert_memory_equal(arg->buf_id, "\1\2\3", 3);
	assert_int_equal(arg->buf_off, 5);
	assert_int_equal(arg->file_ino, 6);
	assert_int_equal(arg->file_off, 7);
	assert_int_equal(arg->len, 100);
	assert_int_equal(arg->userdata, 42);
	peer_complete(&f->peer, slot, 99);
	cqe = reap_one(f);
	assert_int_equal(cqe.index, slot);
	assert_int_equal(cqe.result, 99);
	assert_int_equal(cqe.userdata, 42);
	assert_int_equal(f->peer.hdr->cqe_tail, 1);
	assert_int_equal(usrbio_ring_reap(&f->ring, &cqe, 1), 0);
}

static void wraps_around_many_times(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 100; i++) {
		struct usrbio_cqe cqe;
		int slot;

		assert_true(prep(f, 2 * i) >= 0);
		assert_true(prep(f, 2 * i + 1) >= 0);
		assert_int_equal(usrbio_ring_outstanding(&f->ring), 2);
		for (int k = 0; k < 2; k++) {
			slot = peer_take(&f->peer);
			assert_true(slot >= 0);
			peer_complete(&f->peer, slot, (int64_t)i % 100);
		}
		peer_advance(&f->peer, 2);
		for (uint64_t k = 0; k < 2; k++) {
			cqe = reap_one(f);
			assert_int_equal(cqe.userdata, 2 * i + k);
			assert_int_equal(cqe.result, i % 100);
		}
		assert_int_equal(usrbio_ring_outstanding(&f->ring), 0);
	}
}

static void takes_no_more_than_its_entries(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < ENTRIES; i++)
		assert_true(prep(f, 0) >= 0);
	assert_int_equal(prep(f, 0), -EAGAIN);
	/* Jobs that ended leave places in the queue, but the slots are free only once the completions were reaped. */
	for (int i = 0; i < ENTRIES; i++)
		peer_complete(&f->peer, peer_take(&f->peer), 0);
	peer_advance(&f->peer, ENTRIES);
	assert_int_equal(prep(f, 0), -EAGAIN);
	reap_one(f);
	assert_true(prep(f, 0) >= 0);
	assert_int_equal(prep(f, 0), -EAGAIN);
}

static void a_full_queue_with_free_slots_says_again(void **state)
{
	struct fixture *f = *state;
	int slot[ENTRIES];

	for (int i = 0; i < ENTRIES; i++)
		assert_true(prep(f, 0) >= 0);
	for (int i = 0; i < ENTRIES; i++)
		slot[i] = peer_take(&f->peer);
	/* All but the oldest are done and reaped; sqe_tail waits for the oldest. */
	for (int i = 1; i < ENTRIES; i++) {
		peer_complete(&f->peer, slot[i], 0);
		reap_one(f);
	}
	assert_int_equal(usrbio_ring_outstanding(&f->ring), 1);
	assert_int_equal(prep(f, 0), -EAGAIN);
	peer_complete(&f->peer, slot[0], 0);
	peer_advance(&f->peer, ENTRIES);
	assert_true(prep(f, 0) >= 0);
}

static void completions_may_come_in_any_order(void **state)
{
	struct fixture *f = *state;
	int slot[ENTRIES];

	for (uint64_t i = 0; i < ENTRIES; i++)
		assert_true(prep(f, i) >= 0);
	for (int i = 0; i < ENTRIES; i++)
		slot[i] = peer_take(&f->peer);
	for (int i = ENTRIES - 1; i >= 0; i--)
		peer_complete(&f->peer, slot[i], i);
	for (int i = ENTRIES - 1; i >= 0; i--) {
		struct usrbio_cqe cqe = reap_one(f);

		assert_int_equal(cqe.userdata, i);
		assert_int_equal(cqe.result, i);
	}
}

static void what_was_done_before_is_reaped_without_a_post(void **state)
{
	struct fixture *f = *state;
	struct usrbio_cqe cqes[ENTRIES];

	for (int i = 0; i < ENTRIES; i++)
		prep(f, 0);
	for (int i = 0; i < ENTRIES; i++)
		peer_complete(&f->peer, peer_take(&f->peer), 1);
	assert_int_equal(usrbio_ring_reap(&f->ring, cqes, 3), 3);
	assert_int_equal(usrbio_ring_reap(&f->ring, cqes, 3), 1);
}

static void a_lying_queue_index_is_noticed(void **state)
{
	static const int32_t lies[] = {-1, INT32_MIN, ENTRIES + 1, INT32_MAX};
	struct fixture *f = *state;
	struct usrbio_cqe cqe;

	prep(f, 0);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		f->peer.hdr->cqe_head = lies[i];
		assert_int_equal(usrbio_ring_reap(&f->ring, &cqe, 1), -EPROTO);
		f->peer.hdr->sqe_tail = lies[i];
		assert_int_equal(prep(f, 0), -EPROTO);
	}
	/* In range, and beyond what was submitted. */
	f->peer.hdr->sqe_tail = 2;
	assert_int_equal(prep(f, 0), -EPROTO);
	f->peer.hdr->sqe_tail = 0;
	assert_true(prep(f, 0) >= 0);
}

static void a_queue_index_that_goes_back_is_noticed(void **state)
{
	struct fixture *f = *state;

	prep(f, 0);
	prep(f, 0);
	peer_advance(&f->peer, 2);
	assert_true(prep(f, 0) >= 0);
	f->peer.hdr->sqe_tail = 1;
	assert_int_equal(prep(f, 0), -EPROTO);
}

static void a_completion_of_nothing_is_noticed(void **state)
{
	static const int32_t lies[] = {-1, INT32_MIN, ENTRIES + 1, INT32_MAX, 3};
	struct fixture *f = *state;
	struct usrbio_cqe cqe;

	assert_int_not_equal(prep(f, 0), 3);
	f->peer.hdr->cqe_head = 1;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		f->peer.cqes[0].index = lies[i];
		assert_int_equal(usrbio_ring_reap(&f->ring, &cqe, 1), -EPROTO);
	}
}

static void a_second_completion_of_a_request_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct usrbio_cqe cqes[2];
	int slot = prep(f, 0);

	prep(f, 0);
	peer_complete(&f->peer, slot, 1);
	peer_complete(&f->peer, slot, 1);
	/* The good one first; the ring is broken from there on. */
	assert_int_equal(usrbio_ring_reap(&f->ring, cqes, 2), 1);
	assert_int_equal(usrbio_ring_reap(&f->ring, cqes, 2), -EPROTO);
	assert_int_equal(usrbio_ring_reap(&f->ring, cqes, 2), -EPROTO);
}

static void more_bytes_than_asked_for_are_noticed(void **state)
{
	struct fixture *f = *state;
	struct usrbio_cqe cqe;

	peer_complete(&f->peer, prep(f, 0), 101);
	assert_int_equal(usrbio_ring_reap(&f->ring, &cqe, 1), -EPROTO);
	f->peer.cqes[0].result = INT64_MAX;
	assert_int_equal(usrbio_ring_reap(&f->ring, &cqe, 1), -EPROTO);
	f->peer.cqes[0].result = 100;
	assert_int_equal(reap_one(f).result, 100);
}

static void failures_keep_their_errno_and_nonsense_gets_one(void **state)
{
	static const int64_t cases[][2] = {{-EREMOTEIO, -EREMOTEIO}, {-4095, -4095}, {-4096, -EIO}, {INT64_MIN, -EIO}};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		peer_complete(&f->peer, prep(f, 0), cases[i][0]);
		peer_advance(&f->peer, 1);
		assert_int_equal(reap_one(f).result, cases[i][1]);
	}
}

static void user_data_is_ours_whatever_the_daemon_says(void **state)
{
	struct fixture *f = *state;
	int slot = prep(f, 42);

	peer_complete(&f->peer, slot, 1);
	f->peer.cqes[0].userdata = UINT64_MAX;
	f->peer.cqes[0].reserved = -1;
	f->peer.args[slot].userdata = 1;
	f->peer.args[slot].len = UINT64_MAX;
	assert_int_equal(reap_one(f).userdata, 42);
}

static void our_own_indices_are_not_read_back(void **state)
{
	struct fixture *f = *state;
	struct usrbio_cqe cqe;
	int slot;

	f->peer.hdr->sqe_head = -7;
	f->peer.hdr->cqe_tail = INT32_MAX;
	slot = prep(f, 1);
	assert_true(slot >= 0);
	assert_int_equal(f->peer.hdr->sqe_head, 1);
	peer_complete(&f->peer, slot, 0);
	cqe = reap_one(f);
	assert_int_equal(cqe.userdata, 1);
	assert_int_equal(f->peer.hdr->cqe_tail, 1);
}

#define RING_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(both_ends_derive_the_same_layout),
		RING_TEST(sizes_out_of_range_have_no_ring),
		RING_TEST(a_request_arrives_as_it_was_made),
		RING_TEST(wraps_around_many_times),
		RING_TEST(takes_no_more_than_its_entries),
		RING_TEST(a_full_queue_with_free_slots_says_again),
		RING_TEST(completions_may_come_in_any_order),
		RING_TEST(what_was_done_before_is_reaped_without_a_post),
		RING_TEST(a_lying_queue_index_is_noticed),
		RING_TEST(a_queue_index_that_goes_back_is_noticed),
		RING_TEST(a_completion_of_nothing_is_noticed),
		RING_TEST(a_second_completion_of_a_request_is_noticed),
		RING_TEST(more_bytes_than_asked_for_are_noticed),
		RING_TEST(failures_keep_their_errno_and_nonsense_gets_one),
		RING_TEST(user_data_is_ours_whatever_the_daemon_says),
		RING_TEST(our_own_indices_are_not_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

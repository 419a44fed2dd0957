/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuner.h"

#define MIB (1ull << 20)
#define WHOLE 32
#define QUARTER 8

/* Reads `gib` GiB in pieces that take as long as `cost` says for the limit in force. */
static void read_on(struct fst3fs_tuner *t, unsigned gib, uint64_t (*cost)(uint32_t limit, uint64_t done),
		    uint64_t *now)
{
	for (uint64_t done = 0; done < gib * 1024 * MIB; done += 2 * MIB) {
		*now += cost(t->limit, done);
		fst3fs_tuner_landed(t, 1, 2 * MIB, *now);
		assert_true(t->limit == WHOLE || t->limit == QUARTER);
	}
}

static uint64_t caches(uint32_t limit, uint64_t done)
{
	(void)done;
	return limit == QUARTER ? 200000 : 300000;
}

static uint64_t link(uint32_t limit, uint64_t done)
{
	(void)done;
	return limit == QUARTER ? 560000 : 500000;
}

static uint64_t shared_link(uint32_t limit, uint64_t done)
{
	(void)limit, (void)done;
	return 500000;
}

/* Others come and go, for a while at a time. */
static uint64_t restless(uint32_t limit, uint64_t done)
{
	(void)limit;
	return done / (128 * MIB) % 2 ? 900000 : 500000;
}

static void a_quarter_is_kept_where_it_is_faster(void **state)
{
	struct fst3fs_tuner t;
	uint64_t now = 0;

	(void)state;
	fst3fs_tuner_init(&t, WHOLE, 2 * MIB);
	assert_int_equal(t.limit, WHOLE);
	read_on(&t, 1, caches, &now);
	read_on(&t, 1, caches, &now);
	assert_int_equal(t.limit, QUARTER);
	read_on(&t, 14, caches, &now);
	assert_int_equal(t.limit, QUARTER);
	read_on(&t, 18, link, &now); /* it is asked again, and now it is not */
	assert_int_equal(t.limit, WHOLE);
}

static void the_whole_is_kept_otherwise(void **state)
{
	uint64_t (*const costs[])(uint32_t, uint64_t) = {link, shared_link, restless};

	(void)state;
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		struct fst3fs_tuner t;
		uint64_t now = 0;

		fst3fs_tuner_init(&t, WHOLE, 2 * MIB);
		read_on(&t, 2, costs[i], &now);
		assert_int_equal(t.limit, WHOLE);
	}
}

static void a_window_that_ran_dry_is_not_measured(void **state)
{
	struct fst3fs_tuner t;
	uint64_t now = 0;

	(void)state;
	fst3fs_tuner_init(&t, WHOLE, 2 * MIB);
	read_on(&t, 1, caches, &now);
	for (int round = 0; round < 2000; round++) {
		for (int i = 0; i < 20; i++)
			fst3fs_tuner_landed(&t, 1, 2 * MIB, now += caches(t.limit, 0));
		fst3fs_tuner_idle(&t);
		now += 1000000000;
	}
	assert_int_equal(t.limit, WHOLE);
}

static void a_small_buffer_has_nothing_to_try(void **state)
{
	struct fst3fs_tuner t;
	uint64_t now = 0;

	(void)state;
	fst3fs_tuner_init(&t, 16, MIB);
	for (int i = 0; i < 100000; i++) {
		fst3fs_tuner_landed(&t, 1, 2 * MIB, now += 1000);
		assert_int_equal(t.limit, 16);
	}
}

static void naps_are_an_eighth_of_a_full_window(void **state)
{
	struct fst3fs_tuner t;
	uint64_t now = 1;

	(void)state;
	fst3fs_tuner_init(&t, WHOLE, 2 * MIB);
	assert_int_equal(fst3fs_tuner_nap_ns(&t), 0); /* nothing is known */
	for (int i = 0; i < 100; i++)
		fst3fs_tuner_landed(&t, 1, 2 * MIB, now += 200000);
	assert_in_range(fst3fs_tuner_nap_ns(&t), 4 * 199000, 4 * 201000);
	fst3fs_tuner_idle(&t);
	fst3fs_tuner_landed(&t, 1, 2 * MIB, now += 1000000000000); /* a pause between two reads is no pace */
	assert_in_range(fst3fs_tuner_nap_ns(&t), 4 * 199000, 4 * 201000);
	for (int i = 0; i < 100; i++)
		fst3fs_tuner_landed(&t, 1, 2 * MIB, now += 1000000000);
	assert_int_equal(fst3fs_tuner_nap_ns(&t), 1000000); /* never long */
	for (int i = 0; i < 200; i++)
		fst3fs_tuner_landed(&t, 1, 2 * MIB, now += 1000);
	assert_int_equal(fst3fs_tuner_nap_ns(&t), 0); /* nor too short to be worth it */
	fst3fs_tuner_init(&t, WHOLE, 2 * MIB);
	for (int i = 0; i < 100; i++)
		fst3fs_tuner_landed(&t, 3, 3 * 64 * 1024, now += 3 * 50000); /* small ones, three at a time */
	assert_in_range(fst3fs_tuner_nap_ns(&t), 4 * 49000, 4 * 51000);
	fst3fs_tuner_init(&t, 4, 2 * MIB);
	for (int i = 0; i < 100; i++)
		fst3fs_tuner_landed(&t, 1, 2 * MIB, now += 200000);
	assert_int_equal(fst3fs_tuner_nap_ns(&t), 0); /* a window of few has nothing to spare */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quarter_is_kept_where_it_is_faster),
		cmocka_unit_test(the_whole_is_kept_otherwise),
		cmocka_unit_test(a_window_that_ran_dry_is_not_measured),
		cmocka_unit_test(a_small_buffer_has_nothing_to_try),
		cmocka_unit_test(naps_are_an_eighth_of_a_full_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

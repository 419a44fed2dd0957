/* SPDX-License-Identifier: Apache-2.0 */
/* Windows and slices: what every rank reads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plan.h"

#define MIB (1024ull * 1024)
#define MAX_RANKS 16

/* Only the number of bytes counts here. */
static struct fst3fs_plan_division divide(uint64_t total, uint64_t window, uint32_t ranks, uint64_t align)
{
	struct fst3fs_plan plan = {.requested = total};
	struct fst3fs_plan_division division;

	assert_int_equal(fst3fs_plan_divide(&plan, window, ranks, align, &division), 0);
	return division;
}

/* Adds what every rank reads of a window, and checks that the slices lie where an exchange expects them. */
static void add_slices(const struct fst3fs_plan_division *division, const struct fst3fs_plan_window *window,
		       uint64_t bytes[MAX_RANKS])
{
	uint64_t at = window->begin;

	assert_int_equal(window->slice % division->align, 0);
	assert_true(window->slice * division->ranks <= division->window);
	for (uint32_t rank = 0; rank < division->ranks; rank++) {
		uint64_t begin, end;

		fst3fs_plan_slice(window, rank, &begin, &end);
		assert_int_equal(begin, at);
		assert_true(begin == end || begin == window->begin + rank * window->slice);
		assert_true(end - begin <= window->slice);
		bytes[rank] += end - begin;
		at = end;
	}
	assert_int_equal(at, window->end);
}

/* Bytes of each rank over all windows, which must cover plan space. */
static void add_windows(const struct fst3fs_plan_division *division, uint64_t bytes[MAX_RANKS])
{
	uint64_t at = 0;

	for (uint32_t rank = 0; rank < division->ranks; rank++)
		bytes[rank] = 0;
	for (uint64_t w = 0; w < division->windows; w++) {
		struct fst3fs_plan_window window = fst3fs_plan_window(division, w);

		assert_int_equal(window.begin, at);
		assert_true(window.end > at && window.end - at <= division->window);
		assert_true(w + 1 == division->windows || window.end - at == division->window);
		add_slices(division, &window, bytes);
		at = window.end;
	}
	assert_int_equal(at, division->total);
}

static void range_of(const struct fst3fs_plan_division *division, uint64_t *least, uint64_t *most)
{
	uint64_t bytes[MAX_RANKS];

	add_windows(division, bytes);
	*least = UINT64_MAX;
	*most = 0;
	for (uint32_t rank = 0; rank < division->ranks; rank++) {
		*least = bytes[rank] < *least ? bytes[rank] : *least;
		*most = bytes[rank] > *most ? bytes[rank] : *most;
	}
}

static void windows_and_slices_cover_plan_space(void **state)
{
	struct fst3fs_plan_division division = divide(1000, 100, 3, 8);
	struct fst3fs_plan_window last;

	(void)state;
	assert_int_equal(division.window, 96);
	assert_int_equal(division.windows, 11);
	last = fst3fs_plan_window(&division, 10);
	assert_int_equal(last.begin, 960);
	assert_int_equal(last.end, 1000);
	assert_int_equal(last.slice, 16); /* 40 bytes for three, rounded up to 8 */
	add_windows(&division, (uint64_t[MAX_RANKS]){0});
}

static void whole_windows_are_divided_to_the_byte(void **state)
{
	struct fst3fs_plan_division division = divide(10 * 64 * MIB, 64 * MIB, 4, 4096);
	uint64_t least, most;

	(void)state;
	range_of(&division, &least, &most);
	assert_int_equal(least, most);
}

static void an_empty_plan_has_no_windows(void **state)
{
	struct fst3fs_plan_division division = divide(0, 100, 3, 8);

	(void)state;
	assert_int_equal(division.windows, 0);
}

static void ranks_differ_by_less_than_a_rounding(void **state)
{
	(void)state;
	srand(11);
	for (int round = 0; round < 5000; round++) {
		uint32_t ranks = 1 + (uint32_t)rand() % MAX_RANKS;
		uint64_t align = 1ull << (rand() % 13), least, most;
		uint64_t window = ranks * align * (1 + (uint64_t)rand() % 50) + (uint64_t)rand() % (ranks * align);
		struct fst3fs_plan_division division =
			divide(window * (uint64_t)(rand() % 5) + (uint64_t)rand() % window, window, ranks, align);

		range_of(&division, &least, &most);
		assert_true(most - least < ranks * align || most == least);
	}
}

/* What the header promises, from the smallest total on for which it does. */
static void largest_over_smallest_is_at_most_1_01(void **state)
{
	static const uint32_t ranks[] = {1, 2, 3, 4, 8, 16};

	(void)state;
	for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
		uint64_t from = 101 * ranks[i] * ranks[i] * 64;

		for (uint64_t total = from; total < 3 * from; total += 1 + total / 97) {
			struct fst3fs_plan_division division = divide(total, from, ranks[i], 64);
			uint64_t least, most;

			range_of(&division, &least, &most);
			assert_true(100 * most <= 101 * least);
		}
	}
}

/* A tail behind one whole window is shared by all ranks, not left to the first. */
static void a_short_tail_is_shared(void **state)
{
	struct fst3fs_plan_division division = divide(64 * MIB + 64 * MIB / 10, 64 * MIB, 4, 64);
	struct fst3fs_plan_window tail = fst3fs_plan_window(&division, 1);

	(void)state;
	for (uint32_t rank = 0; rank < 4; rank++) {
		uint64_t begin, end;

		fst3fs_plan_slice(&tail, rank, &begin, &end);
		assert_true(end - begin > 64 * MIB / 41);
	}
}

static void huge_numbers_are_no_trap(void **state)
{
	struct fst3fs_plan_division division = divide(UINT64_MAX, UINT64_MAX, UINT32_MAX, 1ull << 20);
	struct fst3fs_plan_window last = fst3fs_plan_window(&division, division.windows - 1);
	uint64_t begin, end;

	(void)state;
	assert_int_equal(last.end, UINT64_MAX);
	fst3fs_plan_slice(&last, UINT32_MAX - 1, &begin, &end);
	assert_true(begin <= end && end <= last.end);
}

static void bad_divisions_are_refused(void **state)
{
	struct fst3fs_plan plan = {.requested = 100};
	struct fst3fs_plan_division division;

	(void)state;
	assert_int_equal(fst3fs_plan_divide(&plan, 100, 0, 1, &division), -EINVAL);
	assert_int_equal(fst3fs_plan_divide(&plan, 100, 1, 0, &division), -EINVAL);
	assert_int_equal(fst3fs_plan_divide(&plan, 31, 4, 8, &division), -EINVAL);
	assert_int_equal(fst3fs_plan_divide(&plan, 31, 4, UINT64_MAX / 2, &division), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_and_slices_cover_plan_space),
		cmocka_unit_test(whole_windows_are_divided_to_the_byte),
		cmocka_unit_test(an_empty_plan_has_no_windows),
		cmocka_unit_test(ranks_differ_by_less_than_a_rounding),
		cmocka_unit_test(largest_over_smallest_is_at_most_1_01),
		cmocka_unit_test(a_short_tail_is_shared),
		cmocka_unit_test(huge_numbers_are_no_trap),
		cmocka_unit_test(bad_divisions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

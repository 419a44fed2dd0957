/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a range of plan space. The oracle's test looks at every range; here are the cases with a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plan.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Plan space: file 0 [10, 60) at 0, file 0 [100, 200) at 50, file 2 [0, 30) at 150; the gap [30, 40) is read over. */
static const struct fst3fs_plan_extent EXTENTS[] = {
	{2, 0, 30}, {0, 10, 30}, {0, 40, 60}, {0, 100, 200}, {0, 110, 120}, {0, 150, 150},
};

static int setup(void **state)
{
	static const struct fst3fs_plan_config config = {.gap = 10, .grain = 1};
	static struct fst3fs_plan plan;

	*state = &plan;
	return fst3fs_plan_make(&config, EXTENTS, COUNT(EXTENTS), &plan);
}

static int teardown(void **state)
{
	fst3fs_plan_fini(*state);
	return 0;
}

static void expect_pieces(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end,
			  const struct fst3fs_plan_piece *expected, size_t n)
{
	struct fst3fs_plan_iter it = fst3fs_plan_pieces(plan, begin, end);
	struct fst3fs_plan_piece piece;

	for (size_t i = 0; i < n; i++) {
		assert_true(fst3fs_plan_next_piece(&it, &piece));
		assert_int_equal(piece.file, expected[i].file);
		assert_int_equal(piece.offset, expected[i].offset);
		assert_int_equal(piece.length, expected[i].length);
		assert_int_equal(piece.pos, expected[i].pos);
	}
	assert_false(fst3fs_plan_next_piece(&it, &piece));
	assert_false(fst3fs_plan_next_piece(&it, &piece));
}

static void expect_copies(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end,
			  const struct fst3fs_plan_copy *expected, size_t n)
{
	struct fst3fs_plan_iter it = fst3fs_plan_copies(plan, begin, end);
	struct fst3fs_plan_copy copy;

	for (size_t i = 0; i < n; i++) {
		assert_true(fst3fs_plan_next_copy(&it, &copy));
		assert_int_equal(copy.extent, expected[i].extent);
		assert_int_equal(copy.offset, expected[i].offset);
		assert_int_equal(copy.length, expected[i].length);
		assert_int_equal(copy.pos, expected[i].pos);
	}
	assert_false(fst3fs_plan_next_copy(&it, &copy));
	assert_false(fst3fs_plan_next_copy(&it, &copy));
}

static void pieces_of_the_whole_plan_are_its_runs(void **state)
{
	static const struct fst3fs_plan_piece all[] = {{0, 10, 50, 0}, {0, 100, 100, 50}, {2, 0, 30, 150}};

	expect_pieces(*state, 0, UINT64_MAX, all, COUNT(all));
}

static void pieces_are_cut_to_the_range(void **state)
{
	static const struct fst3fs_plan_piece over_two_ends[] = {{0, 59, 1, 49}, {0, 100, 100, 50}, {2, 0, 1, 150}};
	static const struct fst3fs_plan_piece inside[] = {{0, 105, 20, 55}};

	expect_pieces(*state, 49, 151, over_two_ends, COUNT(over_two_ends));
	expect_pieces(*state, 55, 75, inside, COUNT(inside));
}

static void copies_of_the_whole_plan_are_its_parts(void **state)
{
	static const struct fst3fs_plan_copy all[] = {
		{1, 0, 20, 0}, {2, 0, 20, 30}, {3, 0, 100, 50}, {4, 0, 10, 60}, {0, 0, 30, 150},
	};

	expect_copies(*state, 0, UINT64_MAX, all, COUNT(all));
}

static void copies_are_cut_to_the_range(void **state)
{
	static const struct fst3fs_plan_copy over_a_gap[] = {{1, 15, 5, 15}, {2, 0, 1, 30}};

	expect_copies(*state, 15, 31, over_a_gap, COUNT(over_a_gap));
}

/* The part that begins first ends last: a search by beginnings alone would lose it. */
static void a_long_part_is_found_behind_short_ones_inside_it(void **state)
{
	static const struct fst3fs_plan_copy one[] = {{3, 80, 10, 130}};

	expect_copies(*state, 130, 140, one, COUNT(one));
}

static void a_range_in_a_gap_has_a_piece_and_no_copy(void **state)
{
	static const struct fst3fs_plan_piece gap[] = {{0, 32, 4, 22}};

	expect_pieces(*state, 22, 26, gap, COUNT(gap));
	expect_copies(*state, 22, 26, NULL, 0);
}

static void empty_and_outlying_ranges_hold_nothing(void **state)
{
	expect_pieces(*state, 55, 55, NULL, 0);
	expect_copies(*state, 55, 55, NULL, 0);
	expect_pieces(*state, 180, 500, NULL, 0);
	expect_copies(*state, 180, 500, NULL, 0);
	expect_pieces(*state, 20, 10, NULL, 0);
	expect_copies(*state, 20, 10, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_of_the_whole_plan_are_its_runs),
		cmocka_unit_test(pieces_are_cut_to_the_range),
		cmocka_unit_test(copies_of_the_whole_plan_are_its_parts),
		cmocka_unit_test(copies_are_cut_to_the_range),
		cmocka_unit_test(a_long_part_is_found_behind_short_ones_inside_it),
		cmocka_unit_test(a_range_in_a_gap_has_a_piece_and_no_copy),
		cmocka_unit_test(empty_and_outlying_ranges_hold_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

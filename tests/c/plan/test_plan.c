/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes a run, and which part of which extent it carries. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct fst3fs_plan make(uint64_t gap, uint64_t run_max, uint64_t grain, const struct fst3fs_plan_extent *extents,
			       size_t n)
{
	struct fst3fs_plan_config config = {.gap = gap, .run_max = run_max, .grain = grain};
	struct fst3fs_plan plan;

	assert_int_equal(fst3fs_plan_make(&config, extents, n, &plan), 0);
	return plan;
}

static void expect_run(const struct fst3fs_plan *plan, size_t i, uint32_t file, uint64_t begin, uint64_t end)
{
	assert_true(i < plan->nruns);
	assert_int_equal(plan->runs[i].file, file);
	assert_int_equal(plan->runs[i].begin, begin);
	assert_int_equal(plan->runs[i].end, end);
}

static void expect_part(const struct fst3fs_plan *plan, size_t i, size_t extent, uint64_t begin, uint64_t end,
			uint64_t within)
{
	assert_true(i < plan->nparts);
	assert_int_equal(plan->parts[i].extent, extent);
	assert_int_equal(plan->parts[i].begin, begin);
	assert_int_equal(plan->parts[i].end, end);
	assert_int_equal(plan->parts[i].within, within);
}

static void nothing_wanted_is_an_empty_plan(void **state)
{
	static const struct fst3fs_plan_extent empty[] = {{0, 5, 5}, {3, 0, 0}};
	struct fst3fs_plan plan = make(10, 0, 1, NULL, 0);

	(void)state;
	assert_int_equal(plan.nruns + plan.nparts, 0);
	assert_int_equal(plan.wanted + plan.requested, 0);
	fst3fs_plan_fini(&plan);
	plan = make(10, 0, 1, empty, COUNT(empty));
	assert_int_equal(plan.nruns + plan.nparts, 0);
	fst3fs_plan_fini(&plan);
	fst3fs_plan_fini(&plan);
}

static void neighbours_share_a_run(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 100, 200}, {0, 200, 201}, {0, 201, 300}};
	struct fst3fs_plan plan = make(0, 0, 1, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 1);
	expect_run(&plan, 0, 0, 100, 300);
	assert_int_equal(plan.runs[0].parts, 3);
	expect_part(&plan, 1, 1, 200, 201, 0);
	assert_int_equal(plan.wanted, 200);
	assert_int_equal(plan.requested, 200);
	fst3fs_plan_fini(&plan);
}

static void small_gaps_are_read_over_and_large_ones_are_not(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 0, 10}, {0, 15, 20}, {0, 26, 30}};
	struct fst3fs_plan plan = make(5, 0, 1, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 2);
	expect_run(&plan, 0, 0, 0, 20);
	expect_run(&plan, 1, 0, 26, 30);
	assert_int_equal(plan.wanted, 19);
	assert_int_equal(plan.requested, 24);
	assert_int_equal(plan.runs[1].pos, 20);
	fst3fs_plan_fini(&plan);
}

static void files_never_share_a_run(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{1, 10, 20}, {0, 0, 10}, {7, 20, 30}};
	struct fst3fs_plan plan = make(UINT64_MAX, 0, 1, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 3);
	expect_run(&plan, 0, 0, 0, 10);
	expect_run(&plan, 1, 1, 10, 20);
	expect_run(&plan, 2, 7, 20, 30);
	assert_int_equal(plan.requested, 30);
	fst3fs_plan_fini(&plan);
}

static void order_of_the_extents_does_not_matter(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{1, 50, 60}, {0, 30, 40}, {1, 0, 50}, {0, 20, 30}};
	struct fst3fs_plan plan = make(0, 0, 1, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 2);
	expect_run(&plan, 0, 0, 20, 40);
	expect_run(&plan, 1, 1, 0, 60);
	expect_part(&plan, 0, 3, 20, 30, 0);
	expect_part(&plan, 1, 1, 30, 40, 0);
	expect_part(&plan, 2, 2, 0, 50, 0);
	expect_part(&plan, 3, 0, 50, 60, 0);
	fst3fs_plan_fini(&plan);
}

static void bytes_wanted_twice_are_read_once(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 0, 100}, {0, 0, 100}, {0, 20, 30}, {0, 90, 120}};
	struct fst3fs_plan plan = make(0, 0, 1, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 1);
	expect_run(&plan, 0, 0, 0, 120);
	assert_int_equal(plan.nparts, 4);
	expect_part(&plan, 0, 0, 0, 100, 0);
	expect_part(&plan, 1, 1, 0, 100, 0);
	assert_int_equal(plan.wanted, 120);
	assert_int_equal(plan.requested, 120);
	fst3fs_plan_fini(&plan);
}

static void long_runs_are_cut_at_the_grain(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 70, 1000}};
	struct fst3fs_plan plan = make(0, 450, 100, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 3);
	expect_run(&plan, 0, 0, 70, 500);
	expect_run(&plan, 1, 0, 500, 900);
	expect_run(&plan, 2, 0, 900, 1000);
	expect_part(&plan, 1, 0, 500, 900, 430);
	fst3fs_plan_fini(&plan);
}

static void runs_shorter_than_the_grain_are_cut_at_their_length(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 90, 250}};
	struct fst3fs_plan plan = make(0, 60, 100, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 4);
	expect_run(&plan, 0, 0, 90, 100); /* a multiple lies inside */
	expect_run(&plan, 1, 0, 100, 160);
	expect_run(&plan, 2, 0, 160, 200);
	expect_run(&plan, 3, 0, 200, 250);
	fst3fs_plan_fini(&plan);
}

static void a_cut_in_a_gap_leaves_the_gap_out(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 0, 80}, {0, 130, 180}};
	struct fst3fs_plan plan = make(60, 100, 100, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 2);
	expect_run(&plan, 0, 0, 0, 80);
	expect_run(&plan, 1, 0, 130, 180);
	assert_int_equal(plan.requested, plan.wanted);
	fst3fs_plan_fini(&plan);
}

/* A tensor over a cut that another one begins at: both runs carry the first, in order. */
static void parts_are_sorted_by_beginning_after_a_cut_too(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, 100, 120}, {0, 0, 200}, {0, 110, 150}};
	struct fst3fs_plan plan = make(0, 100, 100, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 2);
	assert_int_equal(plan.runs[1].parts, 3);
	expect_part(&plan, 0, 1, 0, 100, 0);
	expect_part(&plan, 1, 1, 100, 200, 100);
	expect_part(&plan, 2, 0, 100, 120, 0);
	expect_part(&plan, 3, 2, 110, 150, 0);
	fst3fs_plan_fini(&plan);
}

static void the_end_of_64_bits_is_no_trap(void **state)
{
	static const struct fst3fs_plan_extent extents[] = {{0, UINT64_MAX - 10, UINT64_MAX}, {0, 0, 1}};
	struct fst3fs_plan plan = make(UINT64_MAX - 12, 100, 64, extents, COUNT(extents));

	(void)state;
	assert_int_equal(plan.nruns, 2);
	expect_run(&plan, 1, 0, UINT64_MAX - 10, UINT64_MAX);
	assert_int_equal(plan.requested, 11);
	fst3fs_plan_fini(&plan);
}

static void bad_input_is_refused(void **state)
{
	static const struct fst3fs_plan_extent backwards[] = {{0, 0, 1}, {0, 5, 4}};
	static const struct fst3fs_plan_extent too_many[] = {{0, 0, UINT64_MAX}, {1, 0, 1}};
	struct fst3fs_plan_config config = {.grain = 1};
	struct fst3fs_plan plan;

	(void)state;
	assert_int_equal(fst3fs_plan_make(&config, backwards, COUNT(backwards), &plan), -EINVAL);
	assert_int_equal(fst3fs_plan_make(&config, too_many, COUNT(too_many), &plan), -EOVERFLOW);
	assert_null(plan.runs);
	config.grain = 0;
	assert_int_equal(fst3fs_plan_make(&config, backwards, 1, &plan), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_wanted_is_an_empty_plan),
		cmocka_unit_test(neighbours_share_a_run),
		cmocka_unit_test(small_gaps_are_read_over_and_large_ones_are_not),
		cmocka_unit_test(files_never_share_a_run),
		cmocka_unit_test(order_of_the_extents_does_not_matter),
		cmocka_unit_test(bytes_wanted_twice_are_read_once),
		cmocka_unit_test(long_runs_are_cut_at_the_grain),
		cmocka_unit_test(runs_shorter_than_the_grain_are_cut_at_their_length),
		cmocka_unit_test(a_cut_in_a_gap_leaves_the_gap_out),
		cmocka_unit_test(parts_are_sorted_by_beginning_after_a_cut_too),
		cmocka_unit_test(the_end_of_64_bits_is_no_trap),
		cmocka_unit_test(bad_input_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

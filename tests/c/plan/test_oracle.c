/* SPDX-License-Identifier: Apache-2.0 */
/* Random plans over small files, against a table with one entry for each byte of each file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"

enum { FILES = 3, BYTES = 160, EXTENTS = 12, ROUNDS = 4000 };

struct world {
	struct fst3fs_plan_extent extents[EXTENTS];
	size_t n;
	struct fst3fs_plan_config config;
	bool wanted[FILES][BYTES];
	bool requested[FILES][BYTES];
};

static uint64_t below(uint64_t n)
{
	return (uint64_t)rand() % n;
}

static void make_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->n = below(EXTENTS + 1);
	for (size_t i = 0; i < w->n; i++) {
		uint64_t begin = below(BYTES), longest = below(4) == 0 ? BYTES : 12;
		uint64_t length = below(longest + 1);

		length = length > BYTES - begin ? BYTES - begin : length;
		w->extents[i] = (struct fst3fs_plan_extent){(uint32_t)below(FILES), begin, begin + length};
		memset(&w->wanted[w->extents[i].file][begin], true, length);
	}
	w->config.gap = below(3) ? below(10) : 0;
	w->config.run_max = below(2) ? 1 + below(60) : 0;
	w->config.grain = 1 + below(20);
}

/* A byte is read when it is wanted, or when no more than `gap` bytes lie between the wanted ones around it. */
static bool in_small_gap(const struct world *w, size_t file, size_t at)
{
	size_t low = at, high = at;

	while (low > 0 && !w->wanted[file][low])
		low--;
	while (high < BYTES && !w->wanted[file][high])
		high++;
	return w->wanted[file][low] && high < BYTES && high - low - 1 <= w->config.gap;
}

/* Why run `a` may end where it does, with `b` behind it in the same file. */
static void check_end(const struct world *w, const struct fst3fs_plan_run *a, const struct fst3fs_plan_run *b)
{
	const struct fst3fs_plan_config *c = &w->config;
	uint64_t farthest = a->begin + c->run_max, multiple = farthest / c->grain * c->grain;
	uint64_t limit = multiple > a->begin ? multiple : farthest;

	assert_true(b->begin >= a->end);
	if (b->begin - a->end > c->gap)
		return;
	assert_true(c->run_max > 0);
	/* Cut, and as late as may be: there, or before the gap that holds the place. */
	assert_true(a->end <= limit && b->begin >= limit);
}

static void check_runs(struct world *w, const struct fst3fs_plan *plan)
{
	uint64_t pos = 0;

	for (size_t i = 0; i < plan->nruns; i++) {
		const struct fst3fs_plan_run *run = &plan->runs[i], *before = run - 1;

		assert_true(run->begin < run->end && run->end <= BYTES);
		assert_true(w->config.run_max == 0 || run->end - run->begin <= w->config.run_max);
		assert_true(w->wanted[run->file][run->begin] && w->wanted[run->file][run->end - 1]);
		assert_int_equal(run->pos, pos);
		pos += run->end - run->begin;
		memset(&w->requested[run->file][run->begin], true, run->end - run->begin);
		if (i > 0 && before->file == run->file)
			check_end(w, before, run);
		else if (i > 0)
			assert_true(before->file < run->file);
	}
	assert_int_equal(plan->requested, pos);
}

static void check_bytes(const struct world *w, const struct fst3fs_plan *plan)
{
	uint64_t wanted = 0;

	for (size_t file = 0; file < FILES; file++) {
		for (size_t at = 0; at < BYTES; at++) {
			wanted += w->wanted[file][at];
			if (w->wanted[file][at])
				assert_true(w->requested[file][at]);
			else if (w->config.run_max == 0)
				assert_int_equal(w->requested[file][at], in_small_gap(w, file, at));
			else if (w->requested[file][at])
				assert_true(in_small_gap(w, file, at));
		}
	}
	assert_int_equal(plan->wanted, wanted);
}

static void check_parts(const struct world *w, const struct fst3fs_plan *plan)
{
	uint64_t carried[EXTENTS] = {0};
	size_t part = 0;

	for (size_t i = 0; i < plan->nruns; i++) {
		const struct fst3fs_plan_run *run = &plan->runs[i];

		assert_int_equal(run->part, part);
		for (size_t j = 0; j < run->parts; j++, part++) {
			const struct fst3fs_plan_part *p = &plan->parts[part];
			const struct fst3fs_plan_extent *extent = &w->extents[p->extent];

			assert_int_equal(extent->file, run->file);
			assert_true(p->begin < p->end && p->begin >= run->begin && p->end <= run->end);
			assert_true(j == 0 || p[-1].begin <= p->begin);
			assert_int_equal(extent->begin + p->within, p->begin);
			/* Every part goes on where the extent's last one ended. */
			assert_int_equal(p->within, carried[p->extent]);
			carried[p->extent] += p->end - p->begin;
		}
	}
	assert_int_equal(part, plan->nparts);
	for (size_t i = 0; i < w->n; i++)
		assert_int_equal(carried[i], w->extents[i].end - w->extents[i].begin);
}

/* Where every byte of plan space lies, byte by byte. */
static void locate(const struct fst3fs_plan *plan, uint64_t pos, uint32_t *file, uint64_t *offset)
{
	size_t i = 0;

	while (pos >= plan->runs[i].end - plan->runs[i].begin) {
		pos -= plan->runs[i].end - plan->runs[i].begin;
		i++;
	}
	*file = plan->runs[i].file;
	*offset = plan->runs[i].begin + pos;
}

static void check_pieces(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end)
{
	struct fst3fs_plan_iter it = fst3fs_plan_pieces(plan, begin, end);
	struct fst3fs_plan_piece piece;
	uint64_t pos = begin;

	while (fst3fs_plan_next_piece(&it, &piece)) {
		assert_int_equal(piece.pos, pos);
		assert_true(piece.length > 0);
		for (uint64_t i = 0; i < piece.length; i++, pos++) {
			uint64_t offset;
			uint32_t file;

			locate(plan, pos, &file, &offset);
			assert_int_equal(file, piece.file);
			assert_int_equal(offset, piece.offset + i);
		}
	}
	assert_int_equal(pos, end);
}

/* How many (extent, byte) pairs lie in the range. */
static uint64_t count_copies(const struct world *w, const struct fst3fs_plan *plan, uint64_t begin, uint64_t end)
{
	uint64_t count = 0;

	for (uint64_t pos = begin; pos < end; pos++) {
		uint64_t offset;
		uint32_t file;

		locate(plan, pos, &file, &offset);
		for (size_t i = 0; i < w->n; i++)
			count += w->extents[i].file == file && w->extents[i].begin <= offset &&
				 offset < w->extents[i].end;
	}
	return count;
}

static void check_copies(const struct world *w, const struct fst3fs_plan *plan, uint64_t begin, uint64_t end)
{
	struct fst3fs_plan_iter it = fst3fs_plan_copies(plan, begin, end);
	bool seen[EXTENTS][BYTES] = {{false}};
	struct fst3fs_plan_copy copy;
	uint64_t count = 0;

	while (fst3fs_plan_next_copy(&it, &copy)) {
		assert_true(copy.length > 0 && copy.pos >= begin && copy.pos + copy.length <= end);
		for (uint64_t i = 0; i < copy.length; i++, count++) {
			uint64_t offset;
			uint32_t file;

			locate(plan, copy.pos + i, &file, &offset);
			assert_int_equal(file, w->extents[copy.extent].file);
			assert_int_equal(offset, w->extents[copy.extent].begin + copy.offset + i);
			assert_false(seen[copy.extent][copy.offset + i]);
			seen[copy.extent][copy.offset + i] = true;
		}
	}
	assert_int_equal(count, count_copies(w, plan, begin, end));
}

static void check_ranges(const struct world *w, const struct fst3fs_plan *plan)
{
	for (int i = 0; i < 6; i++) {
		uint64_t begin = below(plan->requested + 1), end = begin + below(plan->requested - begin + 1);

		check_pieces(plan, begin, end);
		check_copies(w, plan, begin, end);
	}
	check_pieces(plan, 0, plan->requested);
	check_copies(w, plan, 0, plan->requested);
}

static void any_plan_agrees_with_a_table_of_bytes(void **state)
{
	struct world w;

	(void)state;
	srand(20240229);
	for (int round = 0; round < ROUNDS; round++) {
		struct fst3fs_plan plan;

		make_world(&w);
		assert_int_equal(fst3fs_plan_make(&w.config, w.extents, w.n, &plan), 0);
		check_runs(&w, &plan);
		check_bytes(&w, &plan);
		check_parts(&w, &plan);
		check_ranges(&w, &plan);
		fst3fs_plan_fini(&plan);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_plan_agrees_with_a_table_of_bytes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a range of plan space: the files' side (pieces) and the extents' side (copies). */
#include "plan.h"

/* The run that holds `pos`, which lies in plan space. */
static size_t find_run(const struct fst3fs_plan *plan, uint64_t pos)
{
	size_t low = 0, high = plan->nruns;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (plan->runs[middle].pos <= pos)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The first of the run's parts that goes beyond file offset `offset`. */
static size_t find_part(const struct fst3fs_plan *plan, const struct fst3fs_plan_run *run, uint64_t offset)
{
	const struct fst3fs_plan_part *parts = plan->parts + run->part;
	size_t low = 0, high = run->parts;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (parts[middle].reach <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct fst3fs_plan_iter fst3fs_plan_pieces(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end)
{
	struct fst3fs_plan_iter it = {.plan = plan, .begin = begin, .end = end};

	if (it.end > plan->requested)
		it.end = plan->requested;
	it.run = it.begin < it.end ? find_run(plan, begin) : plan->nruns;
	return it;
}

/* The bytes [*low, *high) of the run's file that lie in the range; false when the range ends before the run. */
static bool range_in_run(const struct fst3fs_plan_iter *it, uint64_t *low, uint64_t *high)
{
	const struct fst3fs_plan_run *run;

	if (it->run >= it->plan->nruns)
		return false;
	run = &it->plan->runs[it->run];
	if (run->pos >= it->end)
		return false;
	*low = run->begin + (it->begin > run->pos ? it->begin - run->pos : 0);
	*high = run->end - run->begin > it->end - run->pos ? run->begin + (it->end - run->pos) : run->end;
	return true;
}

bool fst3fs_plan_next_piece(struct fst3fs_plan_iter *it, struct fst3fs_plan_piece *piece)
{
	const struct fst3fs_plan_run *run;
	uint64_t low, high;

	if (!range_in_run(it, &low, &high))
		return false;
	run = &it->plan->runs[it->run++];
	*piece = (struct fst3fs_plan_piece){run->file, low, high - low, run->pos + (low - run->begin)};
	return true;
}

struct fst3fs_plan_iter fst3fs_plan_copies(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end)
{
	struct fst3fs_plan_iter it = fst3fs_plan_pieces(plan, begin, end);
	uint64_t low, high;

	if (range_in_run(&it, &low, &high))
		it.part = find_part(plan, &plan->runs[it.run], low);
	return it;
}

/* The next of the run's parts that has bytes in [low, high); NULL after the last. */
static const struct fst3fs_plan_part *next_part(struct fst3fs_plan_iter *it, uint64_t low, uint64_t high)
{
	const struct fst3fs_plan_run *run = &it->plan->runs[it->run];

	while (it->part < run->parts) {
		const struct fst3fs_plan_part *part = &it->plan->parts[run->part + it->part];

		if (part->begin >= high)
			return NULL;
		it->part++;
		if (part->end > low)
			return part;
	}
	return NULL;
}

bool fst3fs_plan_next_copy(struct fst3fs_plan_iter *it, struct fst3fs_plan_copy *copy)
{
	uint64_t low, high;

	for (; range_in_run(it, &low, &high); it->run++, it->part = 0) {
		const struct fst3fs_plan_run *run = &it->plan->runs[it->run];
		const struct fst3fs_plan_part *part = next_part(it, low, high);

		if (!part)
			continue;
		low = part->begin > low ? part->begin : low;
		high = part->end < high ? part->end : high;
		*copy = (struct fst3fs_plan_copy){part->extent, part->within + (low - part->begin), high - low,
						  run->pos + (low - run->begin)};
		return true;
	}
	return false;
}

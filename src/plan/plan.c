/* SPDX-License-Identifier: Apache-2.0 */
/* Extents are sorted and merged into runs; then each extent is dealt out to the runs that carry it. */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An extent that is not empty, with its number. */
struct wish {
	struct fst3fs_plan_extent at;
	size_t extent;
};

/* The plan while runs are appended. */
struct builder {
	const struct fst3fs_plan_config *config;
	struct fst3fs_plan *plan;
	size_t room;	/* runs that fit */
	uint64_t limit; /* file offset that the last run may grow to */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static int compare_wishes(const void *left, const void *right)
{
	const struct wish *a = left, *b = right;

	if (a->at.file != b->at.file)
		return a->at.file < b->at.file ? -1 : 1;
	if (a->at.begin != b->at.begin)
		return a->at.begin < b->at.begin ? -1 : 1;
	return (a->extent > b->extent) - (a->extent < b->extent);
}

/* The extents that are not empty, in order of (file, begin); to be freed by the caller. NULL: *rc says why. */
static struct wish *sort_wishes(const struct fst3fs_plan_extent *extents, size_t n, size_t *count, int *rc)
{
	/* One more, so that an empty plan is no case of its own. */
	struct wish *wishes = calloc(n + 1, sizeof(*wishes));

	*count = 0;
	*rc = wishes ? 0 : -ENOMEM;
	for (size_t i = 0; i < n && *rc == 0; i++) {
		if (extents[i].begin > extents[i].end)
			*rc = -EINVAL;
		else if (extents[i].begin < extents[i].end)
			wishes[(*count)++] = (struct wish){extents[i], i};
	}
	if (*rc != 0) {
		free(wishes);
		return NULL;
	}
	qsort(wishes, *count, sizeof(*wishes), compare_wishes);
	return wishes;
}

/* How far a run that begins at `begin` may go. */
static uint64_t run_limit(const struct fst3fs_plan_config *config, uint64_t begin)
{
	uint64_t stop;

	if (config->run_max == 0 || config->run_max > UINT64_MAX - begin)
		return UINT64_MAX;
	stop = (begin + config->run_max) / config->grain * config->grain;
	return stop > begin ? stop : begin + config->run_max;
}

static struct fst3fs_plan_run *last_run(const struct fst3fs_plan *plan)
{
	return plan->nruns > 0 ? &plan->runs[plan->nruns - 1] : NULL;
}

static int append_run(struct builder *b, uint32_t file, uint64_t begin)
{
	struct fst3fs_plan *plan = b->plan;

	if (plan->nruns == b->room) {
		size_t room = b->room ? 2 * b->room : 64;
		struct fst3fs_plan_run *runs = reallocarray(plan->runs, room, sizeof(*runs));

		if (!runs)
			return -ENOMEM;
		plan->runs = runs;
		b->room = room;
	}
	plan->runs[plan->nruns++] = (struct fst3fs_plan_run){.file = file, .begin = begin, .end = begin};
	b->limit = run_limit(b->config, begin);
	return 0;
}

static bool reaches(const struct builder *b, uint32_t file, uint64_t begin)
{
	const struct fst3fs_plan_run *run = last_run(b->plan);

	return run && run->file == file && begin - run->end <= b->config->gap && begin < b->limit;
}

/* Appends bytes that lie behind all runs so far. The only place that decides where a run ends. */
static int append_bytes(struct builder *b, uint32_t file, uint64_t begin, uint64_t end)
{
	while (begin < end) {
		int rc = reaches(b, file, begin) ? 0 : append_run(b, file, begin);

		if (rc != 0)
			return rc;
		last_run(b->plan)->end = begin = min_u64(end, b->limit);
	}
	return 0;
}

static int make_runs(struct builder *b, const struct wish *wishes, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct fst3fs_plan_extent *at = &wishes[i].at;
		const struct fst3fs_plan_run *run = last_run(b->plan);
		/* What lies before the last run's end is in a run already. */
		uint64_t begin = run && run->file == at->file ? max_u64(at->begin, run->end) : at->begin;

		if (begin >= at->end)
			continue;
		b->plan->wanted += at->end - begin; /* cannot overflow where `requested` does not */
		rc = append_bytes(b, at->file, begin, at->end);
	}
	return rc;
}

static int lay_out(struct fst3fs_plan *plan)
{
	for (size_t i = 0; i < plan->nruns; i++) {
		struct fst3fs_plan_run *run = &plan->runs[i];

		run->pos = plan->requested;
		if (__builtin_add_overflow(plan->requested, run->end - run->begin, &plan->requested))
			return -EOVERFLOW;
	}
	return 0;
}

static void count_part(struct fst3fs_plan *plan, struct fst3fs_plan_run *run, const struct wish *wish)
{
	(void)wish;
	run->parts++;
	plan->nparts++;
}

/* Comes by in order of `begin`, so that the run's parts end up in that order. */
static void fill_part(struct fst3fs_plan *plan, struct fst3fs_plan_run *run, const struct wish *wish)
{
	struct fst3fs_plan_part *part = &plan->parts[run->part + run->parts];

	part->extent = wish->extent;
	part->begin = max_u64(wish->at.begin, run->begin);
	part->end = min_u64(wish->at.end, run->end);
	part->within = part->begin - wish->at.begin;
	part->reach = run->parts > 0 ? max_u64(part[-1].reach, part->end) : part->end;
	run->parts++;
}

/* Every run that carries bytes of every extent. */
static void each_part(struct fst3fs_plan *plan, const struct wish *wishes, size_t n,
		      void (*visit)(struct fst3fs_plan *, struct fst3fs_plan_run *, const struct wish *))
{
	size_t first = 0; /* run that carries any of the extent; never goes back from one extent to the next */

	for (size_t i = 0; i < n; i++) {
		const struct fst3fs_plan_extent *at = &wishes[i].at;

		while (plan->runs[first].file < at->file || plan->runs[first].end <= at->begin)
			first++;
		for (size_t r = first; r < plan->nruns; r++) {
			if (plan->runs[r].file != at->file || plan->runs[r].begin >= at->end)
				break;
			visit(plan, &plan->runs[r], &wishes[i]);
		}
	}
}

static int make_parts(struct fst3fs_plan *plan, const struct wish *wishes, size_t n)
{
	size_t part = 0;

	each_part(plan, wishes, n, count_part);
	plan->parts = calloc(plan->nparts + 1, sizeof(*plan->parts));
	if (!plan->parts)
		return -ENOMEM;
	for (size_t i = 0; i < plan->nruns; i++) {
		plan->runs[i].part = part;
		part += plan->runs[i].parts;
		plan->runs[i].parts = 0;
	}
	each_part(plan, wishes, n, fill_part);
	return 0;
}

int fst3fs_plan_make(const struct fst3fs_plan_config *config, const struct fst3fs_plan_extent *extents, size_t n,
		     struct fst3fs_plan *out)
{
	struct builder b = {.config = config, .plan = out};
	struct wish *wishes;
	size_t count;
	int rc;

	memset(out, 0, sizeof(*out));
	if (config->grain == 0)
		return -EINVAL;
	wishes = sort_wishes(extents, n, &count, &rc);
	if (rc == 0)
		rc = make_runs(&b, wishes, count);
	if (rc == 0)
		rc = lay_out(out);
	if (rc == 0)
		rc = make_parts(out, wishes, count);
	free(wishes);
	if (rc != 0)
		fst3fs_plan_fini(out);
	return rc;
}

void fst3fs_plan_fini(struct fst3fs_plan *plan)
{
	free(plan->runs);
	free(plan->parts);
	memset(plan, 0, sizeof(*plan));
}

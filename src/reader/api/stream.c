/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors as they come: the order of their bytes, addresses as the user gives them, and how far ahead that goes. */
#include <errno.h>
#include <stdlib.h>

#include "background_i.h"
#include "checkpoint_i.h"
#include "stream_i.h"

#define AHEAD_DEFAULT (512ull << 20)
/* How far ahead it goes at first; twice as far each time that was not enough. Two runs are, for who takes tensors as
 * they come: one is read while the other's get their addresses. More would be memory that has to be made. */
#define AHEAD_FIRST (2 * FST3FS_RUN_MAX)

void fst3fs_stream_options_init(struct fst3fs_stream_options *o)
{
	*o = (struct fst3fs_stream_options){.size = sizeof(*o), .ahead = AHEAD_DEFAULT};
}

static uint64_t bytes_of(const struct fst3fs_stream *s, size_t k)
{
	return s->selection.extents[k].end - s->selection.extents[k].begin;
}

/* The run that completes the tensor in place `k`: the last one with bytes of it, and all runs before the first for a
 * tensor that has none. */
static void find_last_runs(struct fst3fs_stream *s)
{
	const struct fst3fs_plan *plan = &s->selection.plan;

	for (size_t i = 0; i < plan->nruns; i++)
		for (size_t k = 0; k < plan->runs[i].parts; k++)
			s->runs_needed[plan->parts[plan->runs[i].part + k].extent] = i + 1;
}

static int start(struct fst3fs_reader *r, struct fst3fs_stream *s, struct fst3fs_error *err)
{
	struct fst3fs_background_plan what;

	s->dsts = calloc(s->selection.count + 1, sizeof(*s->dsts));
	s->runs_needed = calloc(s->selection.count + 1, sizeof(*s->runs_needed));
	if (!s->dsts || !s->runs_needed)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a stream of %zu tensors", s->selection.count);
	find_last_runs(s);
	what = fst3fs_selection_plan(&s->selection, s->dsts);
	return fst3fs_background_new(r, &what, &s->background, err);
}

static int check_options(const struct fst3fs_stream_options *o, struct fst3fs_error *err)
{
	if (o && o->size != sizeof(*o))
		return fst3fs_reader_refuse(err, "size of the options", (int64_t)o->size,
					    "not this library's: see fst3fs_stream_options_init");
	return 0;
}

int fst3fs_stream_open(struct fst3fs_reader *r, const struct fst3fs_checkpoint *c, const size_t *which, size_t n,
		       const struct fst3fs_stream_options *o, struct fst3fs_stream **out, struct fst3fs_error *err)
{
	struct fst3fs_stream *s = calloc(1, sizeof(*s));
	int rc;

	fst3fs_err_reset(err);
	rc = s ? check_options(o, err) : fst3fs_err_set(err, -ENOMEM, "no memory for a stream");
	if (rc == 0)
		rc = fst3fs_reader_check_call(r, 0, err);
	if (rc == 0)
		rc = fst3fs_selection_make(&s->selection, c, which, n, err);
	if (rc == 0)
		rc = start(r, s, err);
	if (rc < 0) {
		fst3fs_stream_close(s);
		return rc;
	}
	s->ahead = o ? o->ahead : AHEAD_DEFAULT;
	s->allowed = s->ahead < AHEAD_FIRST ? s->ahead : AHEAD_FIRST;
	s->widening = true;
	*out = s;
	return 0;
}

/* Can the next tensor be completed with the addresses that were given? */
static bool can_complete_next(const struct fst3fs_stream *s)
{
	size_t added = s->selection.plan.nruns - fst3fs_background_runs_left(s->background);

	return s->taken < s->given && s->runs_needed[s->taken] <= added;
}

static uint64_t under_way_with_next(const struct fst3fs_stream *s)
{
	return s->under_way + bytes_of(s, s->given);
}

static bool fits(const struct fst3fs_stream *s)
{
	return under_way_with_next(s) <= s->allowed;
}

/* Twice as far, and as far as the next tensor needs, within `ahead`. */
static uint64_t further(const struct fst3fs_stream *s)
{
	uint64_t twice = s->allowed * 2, needed = under_way_with_next(s), most = twice > needed ? twice : needed;

	return most < s->ahead ? most : s->ahead;
}

/* Goes further ahead when nothing was read for a while since this had been far enough. What is read waits for addresses
 * while they are being given, too: that does not count. */
static void look_further(struct fst3fs_stream *s)
{
	uint64_t starved_ns = fst3fs_background_starved_ns(s->background);
	bool starved = !s->widening && starved_ns > s->starved_ns;

	if (starved)
		s->allowed = further(s);
	s->widening = starved && fits(s);
	s->starved_ns = starved_ns;
}

bool fst3fs_stream_wants(struct fst3fs_stream *s, size_t *tensor)
{
	if (s->given == s->selection.count)
		return false;
	if (!fits(s) && can_complete_next(s)) {
		look_further(s);
		if (!fits(s))
			return false;
	}
	*tensor = s->selection.order[s->given];
	return true;
}

/* Runs whose tensors all have addresses are handed to the thread (tests/models/stream.pml: RUN_BEFORE_ADDRESSES).
 * Tensors do not overlap, so the last part of a run is of the last of its tensors. */
static int add_runs(struct fst3fs_stream *s, struct fst3fs_error *err)
{
	const struct fst3fs_plan *plan = &s->selection.plan;
	size_t left;
	int rc = 0;

	while (rc == 0 && (left = fst3fs_background_runs_left(s->background)) > 0) {
		const struct fst3fs_plan_run *run = &plan->runs[plan->nruns - left];

		if (plan->parts[run->part + run->parts - 1].extent >= s->given)
			break;
		rc = fst3fs_background_add_run(s->background, err);
	}
	return rc;
}

int fst3fs_stream_give(struct fst3fs_stream *s, uint64_t dst, struct fst3fs_error *err)
{
	uint64_t bytes;

	fst3fs_err_reset(err);
	if (s->given == s->selection.count)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "every tensor of the stream has its address");
	bytes = bytes_of(s, s->given);
	if (dst && bytes > UINT64_MAX - dst)
		return fst3fs_reader_refuse(err, "length", (int64_t)bytes, "goes beyond the end of the address space");
	s->dsts[s->given++] = dst;
	s->under_way += bytes;
	return add_runs(s, err);
}

int fst3fs_stream_next(struct fst3fs_stream *s, size_t *tensor, struct fst3fs_error *err)
{
	uint64_t before = fst3fs_now_ns();
	int64_t n;

	fst3fs_err_reset(err);
	if (s->taken == s->selection.count)
		return 0;
	if (!can_complete_next(s))
		return fst3fs_err_set_kind(
			err, FST3FS_ERROR_VALUE, -EINVAL,
			"the next tensor needs addresses that were not given: ask fst3fs_stream_wants");
	n = fst3fs_background_wait(s->background, s->taken, err);
	s->wait_ns += fst3fs_now_ns() - before;
	if (n < 0) {
		if (err)
			err->index = (int64_t)s->selection.order[s->taken];
		return (int)n;
	}
	s->under_way -= bytes_of(s, s->taken);
	s->taken_bytes += bytes_of(s, s->taken);
	*tensor = s->selection.order[s->taken++];
	return 1;
}

int fst3fs_stream_get_info(struct fst3fs_stream *s, struct fst3fs_stream_info *info)
{
	if (info->size != sizeof(*info))
		return -EINVAL;
	*info = (struct fst3fs_stream_info){
		.size = sizeof(*info),
		.wanted = s->selection.plan.wanted,
		.requested = s->selection.plan.requested,
		.taken = s->taken_bytes,
		.wait_ns = s->wait_ns,
		.idle_ns = fst3fs_background_starved_ns(s->background),
	};
	return 0;
}

void fst3fs_stream_close(struct fst3fs_stream *s)
{
	if (!s)
		return;
	if (s->background)
		fst3fs_background_end(s->background, true, NULL);
	fst3fs_selection_fini(&s->selection);
	free(s->dsts);
	free(s->runs_needed);
	free(s);
}

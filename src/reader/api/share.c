/* SPDX-License-Identifier: Apache-2.0 */
/* What each of several processes reads when all of them want the same tensors: the plan's division, with paths. */
#include <errno.h>
#include <stdlib.h>

#include "checkpoint_i.h"
#include "stream_i.h"

struct fst3fs_share {
	struct fst3fs_selection selection;
	struct fst3fs_plan_division division;
};

int fst3fs_share_open(const struct fst3fs_checkpoint *c, const size_t *which, size_t n, uint32_t ranks, uint64_t window,
		      uint64_t align, struct fst3fs_share **out, struct fst3fs_error *err)
{
	struct fst3fs_share *s = calloc(1, sizeof(*s));
	int rc;

	fst3fs_err_reset(err);
	if (!s)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a division");
	rc = fst3fs_selection_make(&s->selection, c, which, n, err);
	if (rc == 0 && fst3fs_plan_divide(&s->selection.plan, window, ranks, align, &s->division) < 0)
		rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					 "a window of %llu bytes for %u ranks, aligned to %llu",
					 (unsigned long long)window, ranks, (unsigned long long)align);
	if (rc < 0) {
		fst3fs_share_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void fst3fs_share_close(struct fst3fs_share *s)
{
	if (!s)
		return;
	fst3fs_selection_fini(&s->selection);
	free(s);
}

uint64_t fst3fs_share_windows(const struct fst3fs_share *s)
{
	return s->division.windows;
}

int fst3fs_share_window(const struct fst3fs_share *s, uint64_t w, uint64_t *bytes, uint64_t *slice)
{
	struct fst3fs_plan_window window;

	if (w >= s->division.windows)
		return -EINVAL;
	window = fst3fs_plan_window(&s->division, w);
	*bytes = window.end - window.begin;
	*slice = window.slice;
	return 0;
}

int64_t fst3fs_share_requests(const struct fst3fs_share *s, uint64_t w, uint32_t rank, uint64_t base,
			      struct fst3fs_request *out, size_t max)
{
	struct fst3fs_plan_window window;
	struct fst3fs_plan_piece piece;
	struct fst3fs_plan_iter it;
	uint64_t begin, end;
	size_t n = 0;

	if (w >= s->division.windows || rank >= s->division.ranks)
		return -EINVAL;
	window = fst3fs_plan_window(&s->division, w);
	fst3fs_plan_slice(&window, rank, &begin, &end);
	it = fst3fs_plan_pieces(&s->selection.plan, begin, end);
	for (; fst3fs_plan_next_piece(&it, &piece); n++) {
		if (n >= max)
			continue; /* counted, for who asks with no room */
		out[n] = (struct fst3fs_request){
			.path = s->selection.checkpoint->paths[piece.file],
			.dst = base + (piece.pos - window.begin),
			.offset = (int64_t)piece.offset,
			.length = (int64_t)piece.length,
		};
	}
	return (int64_t)n;
}

int64_t fst3fs_share_copies(const struct fst3fs_share *s, uint64_t w, struct fst3fs_share_copy *out, size_t max)
{
	struct fst3fs_plan_window window;
	struct fst3fs_plan_copy copy;
	struct fst3fs_plan_iter it;
	size_t n = 0;

	if (w >= s->division.windows)
		return -EINVAL;
	window = fst3fs_plan_window(&s->division, w);
	it = fst3fs_plan_copies(&s->selection.plan, window.begin, window.end);
	for (; fst3fs_plan_next_copy(&it, &copy); n++) {
		if (n >= max)
			continue;
		out[n] = (struct fst3fs_share_copy){
			.tensor = s->selection.order[copy.extent],
			.offset = copy.offset,
			.at = copy.pos - window.begin,
			.length = copy.length,
		};
	}
	return (int64_t)n;
}

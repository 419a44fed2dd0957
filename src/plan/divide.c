/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "plan.h"

int fst3fs_plan_divide(const struct fst3fs_plan *plan, uint64_t window, uint32_t ranks, uint64_t align,
		       struct fst3fs_plan_division *out)
{
	uint64_t unit;

	if (ranks == 0 || align == 0 || __builtin_mul_overflow(align, ranks, &unit) || window < unit)
		return -EINVAL;
	*out = (struct fst3fs_plan_division){
		.total = plan->requested,
		.window = window - window % unit,
		.align = align,
		.ranks = ranks,
	};
	out->windows = out->total / out->window + (out->total % out->window > 0);
	return 0;
}

struct fst3fs_plan_window fst3fs_plan_window(const struct fst3fs_plan_division *division, uint64_t w)
{
	uint64_t unit = division->align * division->ranks;
	struct fst3fs_plan_window window = {.begin = w * division->window};
	uint64_t left = division->total - window.begin;
	uint64_t bytes = left < division->window ? left : division->window;

	window.end = window.begin + bytes;
	window.slice = (bytes / unit + (bytes % unit > 0)) * division->align;
	return window;
}

void fst3fs_plan_slice(const struct fst3fs_plan_window *window, uint32_t rank, uint64_t *begin, uint64_t *end)
{
	uint64_t bytes = window->end - window->begin, at;

	/* A rank far behind the end of the last window may lie behind what 64 bits count. */
	if (__builtin_mul_overflow(window->slice, rank, &at) || at > bytes)
		at = bytes;
	*begin = window->begin + at;
	*end = *begin + (bytes - at < window->slice ? bytes - at : window->slice);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "piece.h"

/* Measured with the sweep of the benchmark (docs/performance.md): a larger piece buys nothing and only makes the window
 * coarse. */
#define PIECE_MAX (2ull << 20)
/* One request has a ceiling and a latency of its own, so what fills a link is their number. */
#define SLOTS_WANTED 16u
#define PAGE 4096ull
#define BLOCK (64ull << 20)

static uint64_t floor_pow2(uint64_t n)
{
	return 1ull << (63 - __builtin_clzll(n));
}

static uint64_t clamp(uint64_t n, uint64_t low, uint64_t high)
{
	return n < low ? low : n > high ? high : n;
}

uint64_t fst3fs_layout_block(uint64_t buffer_size)
{
	return buffer_size > BLOCK ? BLOCK : 0;
}

struct fst3fs_layout fst3fs_layout_choose(uint64_t buffer_size, uint32_t entries)
{
	/* At least two slots, so that one is read while the other is copied, even with one request in flight. */
	uint64_t wanted = clamp(entries, 2, SLOTS_WANTED);
	uint64_t pages = (buffer_size + PAGE - 1) / PAGE * PAGE;
	struct fst3fs_layout l;

	l.piece = clamp(pages / wanted < PAGE ? PAGE : floor_pow2(pages / wanted), PAGE, PIECE_MAX);
	l.slots = (uint32_t)clamp(pages / l.piece, 1, UINT32_MAX);
	l.window = entries < l.slots ? entries : l.slots;
	l.block = fst3fs_layout_block(pages);
	return l;
}

uint64_t fst3fs_piece_cut(uint64_t offset, uint64_t end, uint64_t cap, uint64_t blksize)
{
	uint64_t stop;

	if (end - offset <= cap && (end - offset <= blksize - offset % blksize || cap >= blksize))
		return end - offset;
	if (cap >= blksize)
		stop = (offset + cap) / blksize * blksize;
	else
		stop = offset + (cap < blksize - offset % blksize ? cap : blksize - offset % blksize);
	return (stop < end ? stop : end) - offset;
}

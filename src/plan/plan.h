/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: wanted byte ranges of many files in, contiguous readings out. Pure arithmetic, no I/O.
 *
 * A plan is made once and not changed; any number of threads may then look at it. It copies what it needs, so the
 * extents it was made of may go. All lengths and offsets are bytes.
 */
#ifndef FST3FS_PLAN_H
#define FST3FS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The largest gap between wanted bytes that is read over.
 *
 * Read over, a gap costs its bytes on the link: 64 KiB take 16 us at 4 GB/s. Left out, it costs a request: a place in
 * the window for one latency (500 us / 32 places = 16 us; the client's CPU needs 3), and a second storage read where
 * both ends lie in one storage chunk. Measured (`make bench ROWS=gap`, docs/performance.md) the two are even at 73 KiB.
 */
#define FST3FS_PLAN_GAP (64ull << 10)

/* What is wanted: bytes [begin, end) of file number `file`. Any order; may be empty, may overlap. */
struct fst3fs_plan_extent {
	uint32_t file;
	uint64_t begin, end;
};

/* A part of an extent that a run carries. */
struct fst3fs_plan_part {
	size_t extent;	     /* its number in what the plan was made of */
	uint64_t begin, end; /* file offsets */
	uint64_t within;     /* where `begin` lies inside the extent */
	uint64_t reach;	     /* the largest `end` of the run's parts up to this one: what lookups search by */
};

/* One contiguous reading of a file: neighbours and the small gaps between them. Begins and ends with a wanted byte.
 * Its parts are parts[part .. part + parts), sorted by (begin, extent): equal plans are equal in every process. */
struct fst3fs_plan_run {
	uint32_t file;
	uint64_t begin, end; /* file offsets */
	uint64_t pos;	     /* where it begins in plan space */
	size_t part, parts;
};

struct fst3fs_plan_config {
	uint64_t gap;	  /* the largest gap that is read over; 0 = none */
	uint64_t run_max; /* the longest run; 0 = no bound */
	uint64_t grain;	  /* a run that is cut for its length is cut at a multiple of this file offset (>= 1) where
			   * one lies inside it: where storage cuts requests */
};

/* Plan space is the runs laid end to end, `requested` bytes. */
struct fst3fs_plan {
	struct fst3fs_plan_run *runs; /* in order of (file, begin); they do not overlap */
	size_t nruns;
	struct fst3fs_plan_part *parts;
	size_t nparts;
	uint64_t wanted;    /* bytes of the extents; those that several extents want count once */
	uint64_t requested; /* bytes of the runs: `wanted` and the gaps that are read over */
};

/* Fills `out`, which is to be ended with fst3fs_plan_fini. 0; -EINVAL (an extent with begin > end, a grain of 0),
 * -EOVERFLOW (more bytes in all than 64 bits count), -ENOMEM; then there is nothing to end. Empty extents get no part.
 * `extents` may be NULL when `n` is 0. Time n log n. */
int fst3fs_plan_make(const struct fst3fs_plan_config *config, const struct fst3fs_plan_extent *extents, size_t n,
		     struct fst3fs_plan *out);
/* Frees what the plan holds and makes it empty; again is fine. */
void fst3fs_plan_fini(struct fst3fs_plan *plan);

/* ---- what lies in a range of plan space; finding its beginning takes logarithmic time */

/* A contiguous reading. */
struct fst3fs_plan_piece {
	uint32_t file;
	uint64_t offset, length; /* of the file */
	uint64_t pos;		 /* in plan space */
};

/* Bytes of an extent: `length` bytes at `pos` of plan space belong `offset` bytes into the extent. */
struct fst3fs_plan_copy {
	size_t extent;
	uint64_t offset, length;
	uint64_t pos;
};

/* On the caller's stack; nothing to free. Valid as long as the plan. */
struct fst3fs_plan_iter {
	const struct fst3fs_plan *plan;
	uint64_t begin, end; /* the range, cut to plan space */
	size_t run, part;    /* the next to look at; `part` counts from the run's first */
};

/* Looks at [begin, end) of plan space; what lies beyond `requested` is left out. */
struct fst3fs_plan_iter fst3fs_plan_pieces(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end);
/* The next piece, in plan order; false after the last. Pieces cover the range without gap or overlap. */
bool fst3fs_plan_next_piece(struct fst3fs_plan_iter *it, struct fst3fs_plan_piece *piece);

struct fst3fs_plan_iter fst3fs_plan_copies(const struct fst3fs_plan *plan, uint64_t begin, uint64_t end);
/* The next copy, by run and then by beginning; false after the last. */
bool fst3fs_plan_next_copy(struct fst3fs_plan_iter *it, struct fst3fs_plan_copy *copy);

/* ---- division among ranks
 *
 * Plan space is cut into windows and each window into `ranks` slices of one length, a multiple of `align`; rank r reads
 * slice r of every window. Only the last window is shorter. Its slices are shorter then, too; rounding up to `align`
 * leaves the last of them with less, or nothing.
 *
 * Balance: over the whole plan two ranks differ by less than ranks * align bytes, however large a window is and
 * whatever the total is. So largest / smallest <= 1.01 for any total of 101 * ranks * ranks * align bytes and more. */
struct fst3fs_plan_division {
	uint64_t total;	  /* bytes of plan space */
	uint64_t window;  /* bytes of every window but the last: the most that is allowed and `ranks` slices */
	uint64_t align;	  /* as it was given */
	uint64_t windows; /* how many; 0 for an empty plan */
	uint32_t ranks;
};

struct fst3fs_plan_window {
	uint64_t begin, end; /* in plan space */
	uint64_t slice;	     /* bytes of a slice; ranks * slice >= end - begin */
};

/* Windows of at most `window` bytes. 0; -EINVAL when ranks or align is 0 or `window` holds less than ranks * align. */
int fst3fs_plan_divide(const struct fst3fs_plan *plan, uint64_t window, uint32_t ranks, uint64_t align,
		       struct fst3fs_plan_division *out);
/* Window number `w`, below `windows`. */
struct fst3fs_plan_window fst3fs_plan_window(const struct fst3fs_plan_division *division, uint64_t w);
/* What rank number `rank` reads of a window: [*begin, *end) of plan space, maybe empty. It begins at
 * window->begin + rank * slice, or, when empty, at the window's end. */
void fst3fs_plan_slice(const struct fst3fs_plan_window *window, uint32_t rank, uint64_t *begin, uint64_t *end);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading in the background: ranges that a thread of the library reads through the engine, while others are added and
 * somebody waits for the first. Behind fst3fs_start_many and the stream of tensors.
 */
#ifndef FST3FS_BACKGROUND_I_H
#define FST3FS_BACKGROUND_I_H

#include "plan.h"
#include "reader_i.h"

struct fst3fs_background;

/* What is planned and handed over together: small enough that a stream need not look far ahead, large enough that the
 * request which is cut short at its end does not count. It is cut where a request of the largest size would end. */
#define FST3FS_RUN_MAX (64ull << 20)
#define FST3FS_RUN_GRAIN (2ull << 20)

/* What is to be read: extent i of the plan is target i, begins at extents[i].begin of its file and goes to dsts[i], 0 =
 * nowhere. All of it, the files' paths too, outlives the batch; dsts[i] is looked at when a run with bytes of it is
 * added. */
struct fst3fs_background_plan {
	const struct fst3fs_plan *plan;
	const struct fst3fs_plan_extent *extents;
	const uint64_t *dsts;
	size_t n;
	const char *const *paths; /* by the extents' `file` */
	bool exact;		  /* a file that ends inside a range is an error */
	const uint64_t *inodes; /* by the extents' `file`: another one under the path is an error; NULL = any will do */
	uint64_t chunk_size;	/* as in fst3fs_read */
};

/* Starts the thread. `what` is copied. Undone by fst3fs_background_end. */
int fst3fs_background_new(struct fst3fs_reader *r, const struct fst3fs_background_plan *what,
			  struct fst3fs_background **out, struct fst3fs_error *err);
/* Hands the plan's next run to the thread. An error is one of its destinations'; then nothing was added. */
int fst3fs_background_add_run(struct fst3fs_background *b, struct fst3fs_error *err);
/* Hands over all that are left; when one is refused the background reading is ended. */
int fst3fs_background_add_all(struct fst3fs_background *b, struct fst3fs_error *err);
/* Runs that were not added yet. */
size_t fst3fs_background_runs_left(const struct fst3fs_background *b);
/* Waits until target `i` is over: its bytes, or the error of the first range that failed it. -EINTR: the reader's
 * callback said so; the batch goes on. */
int64_t fst3fs_background_wait(struct fst3fs_background *b, size_t i, struct fst3fs_error *err);
/* Is target `i` over? */
bool fst3fs_background_is_over(struct fst3fs_background *b, size_t i);

/* How long the thread has had nothing to read because nothing was added. 0 in a child after fork. */
uint64_t fst3fs_background_starved_ns(struct fst3fs_background *b);

/* Ends all of it: at once (`cancel`), or when everything has been read. When it returns nothing is in flight. 0, or the
 * first error of a range; a batch that was cancelled has none. -EINTR as everywhere, and then it was cancelled. */
int fst3fs_background_end(struct fst3fs_background *b, bool cancel, struct fst3fs_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies into the memory of one context: a stream of its own, an event for each copy, and a second stream that only
 * waits for those events and wakes the engine, so that no host function ever holds up a copy.
 *
 * Threads: one caller at a time.
 */
#ifndef FST3FS_CUDA_LANE_H
#define FST3FS_CUDA_LANE_H

#include "cuda_context.h"
#include "cuda_notice.h"
#include "dev.h"

struct fst3fs_cuda_lane {
	const struct fst3fs_cuda_driver *cu;
	const char *where; /* "cuda:0", for messages; the device's */
	struct fst3fs_waker *waker;
	struct fst3fs_cuda_context ctx;
	struct CUstream_st *copies;
	struct CUstream_st *wakes;
	struct CUevent_st *order; /* what the caller had queued before a read */
	struct fst3fs_cuda_notice *notice;

	struct CUevent_st **idle; /* events that no copy uses; room for all `events` of them */
	size_t idle_count, events;

	struct fst3fs_dev_copy *head, **tail; /* under way, oldest first: they finish in this order */

	const char *failed; /* the driver's first call that failed: the lane takes no more copies */
	fst3fs_cu_result failure;
	struct fst3fs_cuda_lane *next;
};

int fst3fs_cuda_lane_open(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place, const char *where,
			  struct fst3fs_waker *waker, struct fst3fs_cuda_lane **out, struct fst3fs_error *err);
/* Never waits. With copies under way, whatever the driver may still be using is left to it for good. */
void fst3fs_cuda_lane_close(struct fst3fs_cuda_lane *lane);

/* Copies from here on come after everything that is now in the context's default stream. */
int fst3fs_cuda_lane_begin(struct fst3fs_cuda_lane *lane, struct fst3fs_error *err);
int fst3fs_cuda_lane_copy(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy *copy, bool wait,
			  struct fst3fs_error *err);
int fst3fs_cuda_lane_reap(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy **out, int max,
			  struct fst3fs_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors are read, in which order and how: what the stream and fst3fs_read_tensors have in common. */
#ifndef FST3FS_STREAM_I_H
#define FST3FS_STREAM_I_H

#include "background_i.h"
#include "fst3fs.h"

struct fst3fs_selection {
	const struct fst3fs_checkpoint *checkpoint;
	size_t count;
	size_t *order; /* numbers of tensors, by file and offset */
	struct fst3fs_plan_extent *extents;
	struct fst3fs_plan plan;
};

struct fst3fs_stream {
	struct fst3fs_selection selection;
	struct fst3fs_background *background;
	uint64_t *dsts;	     /* by place in the order; the first `given` are there */
	size_t *runs_needed; /* how many of the plan's runs complete the tensor in this place */
	size_t given, taken;
	uint64_t ahead, allowed; /* the most that may be under way, and what may be so far */
	uint64_t under_way;	 /* bytes of tensors given and not taken */
	bool widening;		 /* `allowed` has grown, and addresses are being given */
	uint64_t starved_ns;	 /* of the background, when they had been given */
	uint64_t taken_bytes, wait_ns;
};

/* NULL `which` = all. -EINVAL: a number that is none, or twice. Undone by fst3fs_selection_fini, also after a failure.
 */
int fst3fs_selection_make(struct fst3fs_selection *s, const struct fst3fs_checkpoint *c, const size_t *which, size_t n,
			  struct fst3fs_error *err);
void fst3fs_selection_fini(struct fst3fs_selection *s);
/* `dsts` by place in the order. */
struct fst3fs_background_plan fst3fs_selection_plan(const struct fst3fs_selection *s, const uint64_t *dsts);

#endif

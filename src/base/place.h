/* SPDX-License-Identifier: Apache-2.0 */
/* Where the pages of a thread come from, so that another thread can fault them in for it. */
#ifndef FST3FS_PLACE_H
#define FST3FS_PLACE_H

enum { FST3FS_MAX_NODES = 1024 };

struct fst3fs_place {
	int policy; /* of set_mempolicy(2); -1: there is nothing to choose */
	unsigned long nodes[FST3FS_MAX_NODES / (8 * sizeof(unsigned long))];
};

/* The policy of the calling thread; where that is to take the nearest memory, the node that it runs on. */
void fst3fs_place_here(struct fst3fs_place *place);
/* Makes it the calling thread's, and that of threads that it starts. `before` (NULL: nobody asks) gets what to take to
 * undo that. */
void fst3fs_place_take(const struct fst3fs_place *place, struct fst3fs_place *before);

#endif

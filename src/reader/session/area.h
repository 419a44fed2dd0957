/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that pieces may land in directly. Its maker embeds this and frees it with the last reference; whoever may
 * still write into it holds one.
 */
#ifndef FST3FS_AREA_H
#define FST3FS_AREA_H

#include <stdatomic.h>
#include <sys/types.h>

#include "io.h"

struct fst3fs_area {
	struct fst3fs_region *region;
	dev_t mount_dev;  /* the mount whose daemon knows it; 0 for none */
	atomic_bool lost; /* a request into it never came back: nothing is read into it again */
	atomic_uint refs; /* its user's, and one for each thread that may still write into it */
	void (*free)(struct fst3fs_area *area);
};

/* Modelled in tests/models/session.pml (NOT_HELD). */
static inline void fst3fs_area_get(struct fst3fs_area *area)
{
	atomic_fetch_add(&area->refs, 1);
}

/* NULL is fine. */
static inline void fst3fs_area_put(struct fst3fs_area *area)
{
	if (area && atomic_fetch_sub(&area->refs, 1) == 1)
		area->free(area);
}

#endif

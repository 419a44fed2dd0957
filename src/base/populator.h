/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the memory that bytes are about to go to resident, on threads of its own, so that nobody who moves bytes takes
 * a page fault. All of it is done for speed alone: what cannot be had is left as it is, and faults as it is written.
 *
 * Threads: any, with or without the engine's lock. NULL, a populator that does nothing, is fine everywhere.
 */
#ifndef FST3FS_POPULATOR_H
#define FST3FS_POPULATOR_H

#include "pages.h"
#include "place.h"

struct fst3fs_populator;

/* NULL: this kernel does not do it, or there is no memory. */
struct fst3fs_populator *fst3fs_populator_new(void);
/* Ends it. Nobody's memory is being made resident for them any more, or the thread that does outlives it. */
void fst3fs_populator_end(struct fst3fs_populator *p);

/* Has the whole pages of [base, base + size), at most FST3FS_STRETCH, made resident for `owner`, on the nodes of
 * `place`. */
void fst3fs_populator_add(struct fst3fs_populator *p, uint64_t base, uint64_t size, const void *owner,
			  const struct fst3fs_place *place);
/* Forgets what is not begun for `owner`, and waits for what is: after that its memory is touched no more. The wait is
 * over after a second in any case: memory whose faults hang has no claim on the caller's time. */
void fst3fs_populator_forget(struct fst3fs_populator *p, const void *owner);

/* [base, base + size) is about to be written: what is to be made resident there is done first, by the calling thread if
 * no other has begun. Faults in small pages would cost several times as much, and those that are being replaced would
 * be waited for as well. */
void fst3fs_populator_settle(struct fst3fs_populator *p, uint64_t base, uint64_t size);

/* What has been made resident so far. */
struct fst3fs_populated fst3fs_populator_made(struct fst3fs_populator *p);

#endif

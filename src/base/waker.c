/* SPDX-License-Identifier: Apache-2.0 */
#include "waker.h"

#include "clock.h"
#include "sharedsem.h"

void fst3fs_waker_init(struct fst3fs_waker *w)
{
	sem_init(&w->own, 0, 0);
	w->sem = &w->own;
}

void fst3fs_waker_lend(struct fst3fs_waker *w, sem_t *sem)
{
	w->sem = sem;
}

void fst3fs_waker_post(struct fst3fs_waker *w)
{
	fst3fs_sem_post(w->sem);
}

/* Modelled in tests/models/ring.pml (WAKER_DRAINS_LATE) and tests/models/drive.pml (DRAINED_AFTER_STEP): after the
 * posts are taken, who waits looks at everything again before the next wait. */
void fst3fs_waker_wait(struct fst3fs_waker *w, uint64_t deadline_ns)
{
	struct timespec ts = fst3fs_timespec(deadline_ns);

	/* One wake-up serves all that was posted by now. */
	if (fst3fs_sem_wait(w->sem, CLOCK_MONOTONIC, &ts) == 0)
		fst3fs_sem_drain(w->sem);
}

void fst3fs_waker_fini(struct fst3fs_waker *w)
{
	sem_destroy(&w->own);
}

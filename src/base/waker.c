/* SPDX-License-Identifier: Apache-2.0 */
#include "waker.h"

#include "clock.h"

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
	sem_post(w->sem); /* can fail with EOVERFLOW alone: then the sleeper has plenty to wake for */
}

/* Modelled in tests/models/ring.pml (WAKER_DRAINS_LATE) and tests/models/drive.pml (DRAINED_AFTER_STEP): after the
 * posts are taken, who waits looks at everything again before the next wait. */
void fst3fs_waker_wait(struct fst3fs_waker *w, uint64_t deadline_ns)
{
	struct timespec ts = fst3fs_timespec(deadline_ns);

	if (sem_clockwait(w->sem, CLOCK_MONOTONIC, &ts) != 0)
		return;
	/* One wake-up serves all that was posted by now. Bounded: the semaphore may lie in memory that another process
	 * writes. */
	for (int i = 0; i < 4096 && sem_trywait(w->sem) == 0; i++)
		;
}

void fst3fs_waker_fini(struct fst3fs_waker *w)
{
	sem_destroy(&w->own);
}

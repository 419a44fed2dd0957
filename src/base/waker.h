/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one thing an engine waits on.
 *
 * Landed requests, finished copies and helper threads all post the same semaphore. A transport whose peer posts a
 * semaphore of its own (a ring's, in shared memory) lends it; otherwise the waker's own is used.
 *
 * Threads: any thread may post; one thread at a time waits. A post is never lost: it makes the next wait return.
 */
#ifndef FST3FS_WAKER_H
#define FST3FS_WAKER_H

#include <semaphore.h>
#include <stdint.h>

struct fst3fs_waker {
	sem_t own;
	sem_t *sem; /* `own`, or the one lent by a transport */
};

void fst3fs_waker_init(struct fst3fs_waker *w);
/* Lends `sem`, which must outlive every post. Before the first wait or post only. */
void fst3fs_waker_lend(struct fst3fs_waker *w, sem_t *sem);
void fst3fs_waker_post(struct fst3fs_waker *w);
/* Sleeps until a post, a signal, or `deadline_ns` (CLOCK_MONOTONIC); takes every post there is. */
void fst3fs_waker_wait(struct fst3fs_waker *w, uint64_t deadline_ns);
void fst3fs_waker_fini(struct fst3fs_waker *w);

#endif

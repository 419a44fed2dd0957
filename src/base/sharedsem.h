/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sem_t in memory that another process writes, which need not be honest.
 *
 * glibc's own functions end the process when what they find in a semaphore makes the kernel refuse their call: whoever
 * can write to it could end everyone who posts it. These do what those do, and whatever a semaphore holds they return.
 * One side may use these, and the other side those.
 */
#ifndef FST3FS_SHAREDSEM_H
#define FST3FS_SHAREDSEM_H

#include <semaphore.h>
#include <time.h>

/* Without effect when there are as many posts as it can count: then there is plenty to wake for. */
void fst3fs_sem_post(sem_t *sem);

/* The same for one that another user may cut short, which no store of this process survives: 0, or -EFAULT, its page is
 * gone. Where a sandbox refuses what this takes it is fst3fs_sem_post(). */
int fst3fs_sem_post_by_kernel(sem_t *sem);

/* Sleeps until there is a post, and takes it. 0; -ETIMEDOUT at `until` (of that clock, CLOCK_MONOTONIC or
 * CLOCK_REALTIME; NULL = never); -EINTR a signal; -EAGAIN woken for nothing; another negative errno for an `until` that
 * is no time. A post that is there is taken whatever the time. */
int fst3fs_sem_wait(sem_t *sem, clockid_t clock, const struct timespec *until);

/* Takes all posts that are there. */
void fst3fs_sem_drain(sem_t *sem);

#endif

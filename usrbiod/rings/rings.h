/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All rings: who scans them, and how many of their jobs run at once.
 *
 * A watcher thread for each priority sleeps on that priority's submit semaphore and scans only when it is posted. A
 * worker is not a thread but a permit to run one job.
 */
#ifndef USRBIOD_RINGS_H
#define USRBIOD_RINGS_H

#include "request.h"

struct rings;

/* Creates the submit semaphores and starts the watchers; `workers` jobs of normal priority run at once. `b` outlives
 * it. 0 or a negative errno. */
int rings_start(const struct backend *b, int workers, struct rings **out);
/* Ends the watchers; jobs that wait for a worker stay where they are. Jobs that run may still end. */
void rings_stop(struct rings *t);
/* Removes the semaphores, and frees the rings that are left. Only when nothing runs any more. NULL is fine. */
void rings_free(struct rings *t);

/* Makes a ring in the object's memory and serves it. 0; -EINVAL size or io_depth; -EMFILE the user's rings are too
 * many, or have room for too many requests; -ENFILE all users' are too many; another negative errno. */
int rings_add(struct rings *t, struct iov *iov);
/* Serves the ring in that object no more, and frees it when its last request has completed. */
void rings_remove(struct rings *t, const struct iov *iov);

/* The name in /dev/shm of a priority's submit semaphore. */
const char *rings_semaphore_path(const struct rings *t, enum priority priority);

#endif

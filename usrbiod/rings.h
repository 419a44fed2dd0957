/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All rings: who scans them, and how many of their jobs run at once.
 *
 * A watcher thread for each priority sleeps on that priority's submit semaphore and scans only when it is posted. A
 * worker is not a thread but a permit to run one job.
 */
#ifndef USRBIOD_RINGS_H
#define USRBIOD_RINGS_H

#include "key.h"
#include "ring.h"

struct rings;

/* Creates the submit semaphores and starts the watchers. 0 or a negative errno. */
int rings_start(struct usrbiod *d, struct rings **out);
/* Ends the watchers; jobs that wait for a worker stay where they are. Jobs that run may still end. */
void rings_stop(struct rings *t);
/* Removes the semaphores, and frees what is left. Only when nothing runs any more. NULL is fine. */
void rings_free(struct rings *t);

/* Takes over the registration's reference. */
void rings_add(struct rings *t, struct ring *r);
/* Closes the ring, and frees it when its last request has completed. */
void rings_remove(struct rings *t, struct ring *r);

/* The end of job_run(): completes the job, forms the next one of its ring, and gives the worker on. */
void rings_job_done(struct rings *t, struct job *job);

/* The name in /dev/shm of a priority's submit semaphore. */
const char *rings_semaphore_path(const struct rings *t, enum priority priority);

#endif

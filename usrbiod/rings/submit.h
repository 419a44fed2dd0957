/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A submit semaphore: created by the daemon, posted by every client of the mount.
 *
 * Its name tells its owner (pid namespace, pid, start time), so that those of dead daemons can be told and swept.
 */
#ifndef USRBIOD_SUBMIT_H
#define USRBIOD_SUBMIT_H

#include <semaphore.h>
#include <stdbool.h>

struct sigbus_area;

struct submit {
	sem_t *sem;		  /* NULL = none */
	struct sigbus_area *area; /* clients may write to it, and truncate it */
	char path[96];		  /* /dev/shm/sem.<name> */
};

/* Removes what dead daemons left. */
void submit_sweep(void);
/* `suffix` is the priority's letter. 0 or a negative errno. */
int submit_create(struct submit *s, char suffix);
void submit_destroy(struct submit *s);
/* Sleeps until it is posted (true), or for a while (false); takes the posts there are. */
bool submit_wait(struct submit *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain directory that looks enough like a mount for the client to register with: links are made and removed in it,
 * and its submit semaphore is this process's own. No daemon serves it.
 */
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H

#include <semaphore.h>
#include <stddef.h>
#include <sys/types.h>

struct scratch {
	char dir[64];
	char iovs[96];
	char sem_name[64];
	sem_t *sem;
};

void scratch_make(struct scratch *s);
void scratch_remove(struct scratch *s);

/* How many links there are besides submit-ios. */
int scratch_links(const struct scratch *s);
void scratch_remove_links(const struct scratch *s);
/* Objects in /dev/shm whose name says that a process, or this one, owns them. */
int scratch_shm_objects_of(pid_t pid);
int scratch_shm_objects(void);

#endif

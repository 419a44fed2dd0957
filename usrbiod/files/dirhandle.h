/* SPDX-License-Identifier: Apache-2.0 */
/* Open directories. They are listed, because those still open when the daemon ends are never released by the kernel. */
#ifndef USRBIOD_DIRHANDLE_H
#define USRBIOD_DIRHANDLE_H

#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

struct dirhandle {
	struct dirhandle *next, **link;
	DIR *dir;  /* NULL in the virtual directory */
	pid_t pid; /* who opened it */
};

struct dirhandles {
	pthread_mutex_t lock;
	struct dirhandle *first;
};

void dirhandles_init(struct dirhandles *t);
/* Closes those that are left. */
void dirhandles_fini(struct dirhandles *t);

/* Takes over `dir`, also when it fails: NULL without memory. */
struct dirhandle *dirhandle_open(struct dirhandles *t, DIR *dir, pid_t pid);
void dirhandle_close(struct dirhandles *t, struct dirhandle *h);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Rings beyond usrbio.h: of any kind, as the drop-in makes them. */
#ifndef USRBIO_IOR_H
#define USRBIO_IOR_H

#include <stdatomic.h>
#include <stdbool.h>

#include "key.h"
#include "ring.h"
#include "shm.h"
#include "usrbio.h"

struct usrbio_ior_attr {
	struct usrbio_ring_attr ring;
	int entries;
	int numa;
	bool lasting; /* children share it, and destroying it waits for the daemon */
};

struct usrbio_ior {
	struct usrbio_client *client;
	struct usrbio_ring ring;
	struct usrbio_shm shm; /* its name is gone once registered */
	struct usrbio_link *link;
	sem_t *submit;
	bool queued;	  /* something was prepared since the last submit */
	atomic_bool deaf; /* the daemon's semaphore is gone */
	bool lasting;
	pid_t pid;
};

int usrbio_ior_create_attr(struct usrbio_client *c, const struct usrbio_ior_attr *attr, struct usrbio_ior **out,
			   struct fst3fs_error *err);

/* Wakes the daemon, queued or not. 0, or -EOWNERDEAD as usrbio_ior_submit. */
int usrbio_ior_wake(struct usrbio_ior *ior);

/* Takes up to `max` completions, and tells the daemon that there is room for more. */
int usrbio_ior_reap_cqes(struct usrbio_ior *ior, struct usrbio_cqe *out, int max);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that may hang in the kernel or wait for the daemon, done on a thread of its own: its caller waits no longer than
 * the reader's time-out, and can be interrupted.
 */
#ifndef FST3FS_OFFLOAD_H
#define FST3FS_OFFLOAD_H

#include "engine.h"

/* Allocated by the caller, as the first member of what the work needs and makes. */
struct fst3fs_offload {
	void (*run)(struct fst3fs_offload *a);	/* fills `rc` and `err` */
	void (*undo)(struct fst3fs_offload *a); /* nobody waits any more: gives back what `run` made, and `a` itself */
	int rc;
	struct fst3fs_error err;
	/* offload.c's own */
	struct fst3fs_engine *engine; /* a reference */
	struct fst3fs_place place;    /* the caller's: what the work maps is the caller's memory */
	pthread_cond_t ended;
	bool done, alone;
};

/* Runs `*a`. Its result, and it is the caller's again; or -ETIMEDOUT or -EINTR, and it is the thread's: `*a` is NULL
 * then. Without the lock. */
int fst3fs_offload_run(struct fst3fs_engine *g, struct fst3fs_offload **a, struct fst3fs_error *err);

#endif

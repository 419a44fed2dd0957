/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client for each mount in use: the first buffer or ring on a mount starts it, the last one ends it. Programs of
 * the official library have no handle for it.
 */
#ifndef HF3FS_MOUNTS_H
#define HF3FS_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "usrbio.h"

struct hf3fs_mount {
	struct hf3fs_mount *next;
	char name[256];
	struct usrbio_client *client;
	dev_t dev; /* of the files on it */
	int users;
	bool stale; /* its daemon is gone: for those who have it alone */
	pid_t pid;
};

/* Runs `make` with a client of the mount `name`; when the client's daemon turns out to be gone, once more with a fresh
 * one, because something else may be mounted there by now. On success the mount has one user more. */
int hf3fs_mount_use(const char *name, int (*make)(struct hf3fs_mount *m, void *arg), void *arg,
		    struct hf3fs_mount **out);
/* A user less; nothing in a child made by fork. */
void hf3fs_mount_put(struct hf3fs_mount *m);

/* Around fork(). */
void hf3fs_mounts_lock(void);
void hf3fs_mounts_unlock(void);

#endif

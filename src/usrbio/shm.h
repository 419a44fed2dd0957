/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared-memory objects named hf3fs-iov-<uuid>, the names that 3FS uses. Ours have ids that tell their owner (owner.h),
 * and are 0600: what is loaded is nobody else's to read.
 */
#ifndef USRBIO_SHM_H
#define USRBIO_SHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define USRBIO_SHM_DIR "/dev/shm"
#define USRBIO_SHM_PREFIX "hf3fs-iov-"

enum { USRBIO_SHM_PATH_SIZE = 280 };

/* How to make one. */
struct usrbio_shm_attr {
	size_t size;
	int numa;	/* node its pages prefer, -1 = anywhere */
	bool keep_fork; /* a child made by fork() keeps the mapping */
};

struct usrbio_shm {
	uint8_t id[16];
	uint8_t *base;
	size_t size;
	size_t huge;			 /* bytes that were put into huge pages when it was made */
	char path[USRBIO_SHM_PATH_SIZE]; /* "" once unlinked */
};

/* Creates an object, all its space reserved, and maps it. 0 or a negative errno (-ENOSPC: too little space). */
int usrbio_shm_create(struct usrbio_shm *shm, const struct usrbio_shm_attr *attr, struct fst3fs_error *err);
/* Maps the object at `path`, which must lie in /dev/shm and be `size` bytes at least. The object stays its maker's. */
int usrbio_shm_open(struct usrbio_shm *shm, const char *path, size_t size);

/* Makes an object that somebody else created as ours are: 0600, all its space reserved. 0 or a negative errno (-ENOSPC:
 * too little space). */
int usrbio_shm_secure(const char *path, size_t size, struct fst3fs_error *err);

/* Takes the name away; the memory stays. */
void usrbio_shm_unlink(struct usrbio_shm *shm);
/* Unmaps; the name stays. */
void usrbio_shm_unmap(struct usrbio_shm *shm);

/* Is `path` that of an object directly in /dev/shm? */
bool usrbio_shm_path_ok(const char *path);

/* Unlinks the objects that dead owners of this pid namespace left. How many. */
int usrbio_shm_sweep(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and buffers made by the official library, and the traps around them.
 *
 * They are made and destroyed on the registering thread of a client of our own. Its directory fd has the daemon clear
 * them away when the process dies (the library's own fd covers what one thread made), and a daemon that hangs blocks
 * that thread and not the caller.
 */
#ifndef FST3FS_SDK_MADE_H
#define FST3FS_SDK_MADE_H

#include <semaphore.h>

#include "sdk_lib.h"
#include "usrbio.h"

/* Where to make one. */
struct fst3fs_sdk_place {
	const struct fst3fs_sdk *sdk;
	struct usrbio_client *client;
	char mount[256]; /* what the library has room for */
	uint32_t timeout_ms;
};

struct fst3fs_sdk_ring {
	struct usrbio_task task;
	struct fst3fs_sdk_place place;
	struct hf3fs_ior ior; /* ior.iorh NULL = not made */
	int entries;
	sem_t *done; /* the completion semaphore, ours to post as well */
};

struct fst3fs_sdk_buffer {
	struct usrbio_task task;
	struct fst3fs_sdk_place place;
	struct hf3fs_iov iov; /* iov.iovh NULL = not made */
	size_t size, block_size;
	int numa;
	struct fst3fs_error err;
};

/* A ring for reads with room for `entries` requests, in which every request completes alone and a hole is an error. */
int fst3fs_sdk_ring_new(const struct fst3fs_sdk_place *place, int entries, struct fst3fs_sdk_ring **out,
			struct fst3fs_error *err);
/* Waits for nothing; so does the next. */
void fst3fs_sdk_ring_free(struct fst3fs_sdk_ring *ring);

/* A buffer whose space is reserved, and whose name in /dev/shm is gone by the time it is handed out. */
int fst3fs_sdk_buffer_new(const struct fst3fs_sdk_place *place, size_t size, size_t block_size, int numa,
			  struct fst3fs_sdk_buffer **out, struct fst3fs_error *err);
void fst3fs_sdk_buffer_free(struct fst3fs_sdk_buffer *buffer);

#endif

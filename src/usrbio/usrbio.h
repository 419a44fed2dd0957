/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USRBIO for code that is linked with this client statically: what the engine needs beyond the hf3fs_* functions.
 *
 *   usrbio_client   one mount, seen from one registering thread with a directory fd of its own. Everything registered
 *                   through it, and nothing else, goes away with it, however the process ends.
 *   usrbio_iov      a registered buffer; its name in /dev/shm is gone by the time it is handed out
 *   usrbio_ior      a registered ring for reads in which every request completes alone
 *
 * Threads: a client may be used from any thread. A ring has one user at a time (the caller locks). Calls that touch
 * the mount run on the registering thread; the caller waits for them no longer than the client's time-out, so a daemon
 * that hangs blocks that thread and not the caller.
 *
 * fork(): a child holds no registration alive and registers nothing (-ECHILD); destroying and closing there only frees.
 *
 * Errors: 0 or a negative errno; `err` (may be NULL) gets the text.
 */
#ifndef USRBIO_H
#define USRBIO_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fst3fs.h"

/* ------------------------------------------------------------------ mounts */

/* The 3FS mount point of `path` (which need not exist; its nearest existing ancestor decides): 1 and the mount point
 * in `buf`; 0 and "" when it is on none; -ERANGE when `size` is too small; another negative errno. */
int usrbio_mount_of(const char *path, char *buf, size_t size);

/* Does the ioctl of protocol section 1 say that this fd is on 3FS? 1, 0, or a negative errno: nobody knows. */
int usrbio_fd_is_3fs(int fd);

/* ------------------------------------------------------------------ client */

struct usrbio_client;

/* Starts the registering thread, which opens <mount>/3fs-virt/iovs. Also sweeps /dev/shm of objects left by dead
 * owners. -ENOENT / -ENOTSUP: not a 3FS mount. -ETIMEDOUT: the daemon does not answer. */
int usrbio_client_open(const char *mount, uint32_t timeout_ms, struct usrbio_client **out, struct fst3fs_error *err);

/* Deregisters everything that is left and ends the thread. Waits for that until `deadline_ns` (CLOCK_MONOTONIC, 0 = not
 * at all); true when it is done, else the thread finishes it alone. Iovs and rings may be destroyed later: their memory
 * is the caller's to end, only their registrations end here. NULL is fine. */
bool usrbio_client_close(struct usrbio_client *c, uint64_t deadline_ns);

/* Is the daemon still there? Asks the registering thread to look and returns at once with what is known: 0 = the last
 * look was good or is under way, else a negative errno (-ENOTCONN: the daemon is gone). Never blocks. When a look
 * finds the daemon gone, `notify` (if not NULL) is posted; it must last until the client is closed, or be the
 * semaphore of one of its rings. */
int usrbio_client_probe(struct usrbio_client *c, sem_t *notify);

/* ------------------------------------------------------------------ other work on the mount */

struct usrbio_link;

/* What somebody else registers on the mount, and undoes at last. Embedded in its owner's structure. */
struct usrbio_task {
	/* On the registering thread; may hang with the mount. */
	int (*run)(struct usrbio_task *task);
	/* Undoes what `run` did, be it all, in part or nothing, and frees the task. */
	void (*end)(struct usrbio_task *task);
	struct usrbio_link *link; /* the client's */
};

/* Runs a task and waits for it: what `run` gave. The task stays the caller's, for usrbio_client_end, except when the
 * client's time-out ran out first: then *task is NULL and the thread ends it when it comes back. */
int usrbio_client_run(struct usrbio_client *c, struct usrbio_task **task);
/* Ends a task on the registering thread, and waits for nothing. */
void usrbio_client_end(struct usrbio_client *c, struct usrbio_task *task);

/* ------------------------------------------------------------------ buffers */

struct usrbio_iov {
	struct usrbio_client *client;
	uint8_t *base; /* page-aligned; a child after fork() sees it too */
	size_t size;
	size_t huge;	   /* bytes of it in huge pages */
	size_t block_size; /* 0 = one block; requests stay inside a block */
	uint8_t id[16];
	char key[128]; /* under 3fs-virt/iovs */
};

/* Creates (0600, space reserved), maps, registers and unlinks a shared-memory object of `size` bytes, rounded up to
 * pages. `block_size` 0 = one block (the key grammar's `.b<n>`). `numa` -1 = anywhere, else the node its
 * pages prefer. -ENOSPC: /dev/shm is too small (the text says how much is free there and what to do). */
int usrbio_iov_create(struct usrbio_client *c, size_t size, size_t block_size, int numa, struct usrbio_iov **out,
		      struct fst3fs_error *err);

/* Unmaps at once; deregistration is left to the registering thread and not waited for. NULL is fine. In a child after
 * fork() it only frees. */
void usrbio_iov_destroy(struct usrbio_iov *iov);

/* ------------------------------------------------------------------ rings */

struct usrbio_ior;

struct usrbio_result {
	int64_t result; /* bytes read, or a negative errno */
	uint64_t userdata;
};

/* A ring for reads with room for `entries` requests: io_depth 1, no batching time-out, normal priority, `flags` as in
 * wire.h. */
int usrbio_ior_create(struct usrbio_client *c, int entries, uint64_t flags, struct usrbio_ior **out,
		      struct fst3fs_error *err);
void usrbio_ior_destroy(struct usrbio_ior *ior);

/* Queues one read of `len` bytes at `file_off` of inode `ino` into the buffer `iov` at `buf_off`. The inode must stay
 * open in this process until the request completes. 0; -EAGAIN the submission queue is full: reap, then try again;
 * -EINVAL range; -EPROTO the daemon wrote nonsense, and the ring must be given up. */
int usrbio_ior_prep(struct usrbio_ior *ior, const struct usrbio_iov *iov, uint64_t buf_off, uint64_t ino,
		    uint64_t file_off, uint64_t len, uint64_t userdata);

/* Wakes the daemon for what was queued since the last call. 0; -EOWNERDEAD: another user has cut its semaphore short,
 * and the ring must be given up. */
int usrbio_ior_submit(struct usrbio_ior *ior);

/* Takes up to `max` completions without waiting; how many. -EPROTO: the daemon wrote nonsense; -EOWNERDEAD: as above.
 * The ring must then be given up. */
int usrbio_ior_reap(struct usrbio_ior *ior, struct usrbio_result *out, int max);

/* The ring's completion semaphore: posted by the daemon once per batch, and free for the caller to post as well. */
sem_t *usrbio_ior_semaphore(struct usrbio_ior *ior);

#endif

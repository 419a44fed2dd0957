/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registering thread of a client: what it can be asked to do.
 *
 * The daemon knows a registration by the THREAD that made it, and clears away what a thread registered when the
 * directory fd that this thread opened is closed. So one thread opens 3fs-virt/iovs and makes every link there. It is
 * also the only one that can hang when the daemon does: a caller waits for a bounded time, then leaves its command to
 * the thread, which undoes it when it comes back.
 */
#ifndef USRBIO_CLIENT_H
#define USRBIO_CLIENT_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"
#include "key.h"
#include "usrbio.h"

struct usrbio_link; /* one registration */

/* A client lives until it was closed, its thread ended, and every holder let go. */
void usrbio_client_hold(struct usrbio_client *c);
void usrbio_client_drop(struct usrbio_client *c);

/* Registers the shared-memory object at `target` as `key`, and waits for it. */
int usrbio_client_link(struct usrbio_client *c, const char *key, const char *target, struct usrbio_link **out,
		       struct fst3fs_error *err);
/* Deregisters, and frees `link`; waits for it if so wished. NULL is fine. */
void usrbio_client_unlink(struct usrbio_client *c, struct usrbio_link *link, bool wait);
/* Frees `link` in a child made by fork, where there is nothing to deregister. */
void usrbio_link_forget(struct usrbio_link *link);

/* Where the registration `key` leads, "" never. 0 or a negative errno. */
int usrbio_client_readlink(struct usrbio_client *c, const char *key, char *out, size_t size);

/* The daemon's submit semaphore for rings of `priority` (< 0 high, 0 normal, > 0 low); for sem_close. */
int usrbio_client_submit_sem(struct usrbio_client *c, int priority, sem_t **out, struct fst3fs_error *err);

/* The device number of the mount, which all its files share. */
dev_t usrbio_client_dev(const struct usrbio_client *c);

/* No probe posts `sem` after this. */
void usrbio_client_unnotify(struct usrbio_client *c, const sem_t *sem);

#endif

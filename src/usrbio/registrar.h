/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a client: its state, its thread, and the queue of commands to it. For client.c alone, which gives these
 * commands their names.
 */
#ifndef USRBIO_REGISTRAR_H
#define USRBIO_REGISTRAR_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "forks.h"
#include "key.h"
#include "shm.h"
#include "usrbio.h"

enum usrbio_op {
	USRBIO_OP_OPEN,
	USRBIO_OP_LINK,
	USRBIO_OP_UNLINK,
	USRBIO_OP_READLINK,
	USRBIO_OP_RUN,
	USRBIO_OP_END,
};

enum usrbio_command_state { USRBIO_IDLE, USRBIO_QUEUED, USRBIO_RUNNING, USRBIO_DONE };

/* A command to the thread. One that registered something is kept as the registration, and undoes it at last. */
struct usrbio_link {
	struct usrbio_link *next;
	enum usrbio_op op;
	enum usrbio_command_state state;
	bool orphan; /* nobody waits for it any more: the thread frees it */
	int rc;
	struct usrbio_task *task; /* of RUN and END */
	char key[USRBIO_KEY_SIZE];
	char target[USRBIO_SHM_PATH_SIZE];
};

struct usrbio_client {
	pthread_mutex_t lock; /* of what follows, down to notify */
	pthread_cond_t work;  /* for the thread */
	pthread_cond_t done;  /* for those who wait for it */
	struct usrbio_link *head, **tail;
	unsigned refs;
	bool closing, ended;
	bool look;    /* a probe is wanted, or under way */
	int probe_rc; /* what the last one found */
	sem_t *notify;

	/* The thread's, and after the open anybody's to read. */
	struct usrbio_fork_guard dir;
	dev_t dev;			      /* of the mount's files */
	char submit[3][USRBIO_SHM_PATH_SIZE]; /* semaphores of high, normal and low priority; "" = none */

	/* Fixed. */
	char *mount;
	uint32_t timeout_ms;
	pid_t pid;
};

/* A client with one reference and no thread yet, or NULL: no memory. */
struct usrbio_client *usrbio_registrar_new(const char *mount, uint32_t timeout_ms);
void usrbio_registrar_hold(struct usrbio_client *c);
/* The last one frees. */
void usrbio_registrar_drop(struct usrbio_client *c);
/* In a child made by fork there is no thread, and the lock may have been anybody's: gives back the memory alone. */
void usrbio_registrar_forget(struct usrbio_client *c);

/* Starts the thread, which holds the client until it ends. */
int usrbio_registrar_start(struct usrbio_client *c);

/* Runs *cmd, which must come from calloc, on the thread and waits for the client's time-out. Returns its result and
 * leaves it to the caller; but after -ETIMEDOUT, when *cmd is NULL, it is the thread's to undo and free. */
int usrbio_registrar_call(struct usrbio_client *c, struct usrbio_link **cmd);
/* Runs cmd some time, and frees it. */
void usrbio_registrar_post(struct usrbio_client *c, struct usrbio_link *cmd);

#endif

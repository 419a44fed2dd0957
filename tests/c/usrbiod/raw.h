/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the bare protocol, for tests of the daemon: it knows wire.h and nothing of our client library, and can
 * lie where that one cannot.
 */
#ifndef RAW_H
#define RAW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "served.h"
#include "wire.h"

/* Opens a file of the mount for reading; its inode number. */
int raw_open(struct served *m, const char *name, uint64_t *ino);

/* A shared-memory object, mapped; registered under `key` once raw_register() was called. */
struct raw_shm {
	char name[64]; /* /dev/shm/... */
	char key[160];
	uint8_t id[16];
	uint8_t *base;
	size_t size;
};

void raw_shm_make(struct raw_shm *s, size_t size);
/* symlink(); `attributes` follow the id in the key (".b4096", ".r1.t0"). 0 or a negative errno. */
int raw_register(struct served *m, struct raw_shm *s, const char *attributes);
int raw_unregister(struct served *m, struct raw_shm *s);
void raw_shm_drop(struct raw_shm *s);

struct raw_ring {
	struct raw_shm shm;
	int slots;
	struct usrbio_ring_header *header;
	struct usrbio_arg *args;
	struct usrbio_cqe *cqes;
	struct usrbio_sqe *sqes;
	sem_t *completed;
	sem_t *submit;
	int next_arg;
};

/* A ring with room for `entries`, registered as ".r<depth>.t0" or with the attributes given. 0 or a negative errno. */
int raw_ring_make(struct served *m, struct raw_ring *r, int entries, const char *attributes);
void raw_ring_drop(struct served *m, struct raw_ring *r);
/* Queues one read and returns its args slot; slots are used in turn. */
int raw_prep(struct raw_ring *r, const struct raw_shm *buf, uint64_t buf_off, uint64_t ino, uint64_t off, uint64_t len);
void raw_post(struct raw_ring *r);
/* Takes one completion if there is one. */
bool raw_reap(struct raw_ring *r, struct usrbio_cqe *out);
/* Waits for one completion; fails the test after 20 s. */
struct usrbio_cqe raw_wait(struct raw_ring *r);
/* Has a moment passed without a completion? */
bool raw_quiet(struct raw_ring *r);
/* The size of a ring's object. */
size_t raw_ring_size(int entries);
/* Runs `fn` in a child as another user: what it returned. Takes root. */
int raw_as_nobody(int (*fn)(void));

#endif

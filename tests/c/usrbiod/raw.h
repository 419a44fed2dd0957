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

#include "wire.h"

/* A daemon in the foreground, on directories of its own below a temporary one. */
struct raw_mount {
	char dir[64]; /* holds backing/, "mount point"/ and stats.json */
	char backing[96];
	char path[96];
	char stats[96];
	pid_t pid;
};

/* Starts the daemon ($USRBIOD) with these options (NULL-terminated) and waits until the mount works. */
void raw_mount_start(struct raw_mount *m, const char *const *options);
/* SIGTERM, and asserts that it ends well and leaves neither mount nor semaphores. */
void raw_mount_stop(struct raw_mount *m);
/* A number of the statistics, asked for now: `key` as in the JSON, below `section` unless that is NULL. */
long raw_stat(struct raw_mount *m, const char *section, const char *key);

/* A file of that many bytes whose contents tell their offset. */
void raw_make_file(struct raw_mount *m, const char *name, size_t size);
/* What raw_make_file() put at an offset. */
uint8_t raw_byte_at(uint64_t off);
/* Opens a file of the mount for reading; its inode number. */
int raw_open(struct raw_mount *m, const char *name, uint64_t *ino);

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
int raw_register(struct raw_mount *m, struct raw_shm *s, const char *attributes);
int raw_unregister(struct raw_mount *m, struct raw_shm *s);
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
int raw_ring_make(struct raw_mount *m, struct raw_ring *r, int entries, const char *attributes);
void raw_ring_drop(struct raw_mount *m, struct raw_ring *r);
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

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reader takes from the machine and can give up whole: transports, the staging buffer with its slots, devices.
 *
 * Threads: under the reader's lock, except fst3fs_session_new and fst3fs_session_free, which block and touch nothing
 * shared.
 */
#ifndef FST3FS_SESSION_H
#define FST3FS_SESSION_H

#include <sys/types.h>

#include "area.h"
#include "dev.h"
#include "err.h"
#include "files.h"
#include "io.h"
#include "piece.h"
#include "tuner.h"
#include "waker.h"

/* free -> reading -> landed -> copying -> free. Only a call that copies in turn leaves slots `landed`. */
enum fst3fs_slot_state { FST3FS_SLOT_FREE, FST3FS_SLOT_READING, FST3FS_SLOT_LANDED, FST3FS_SLOT_COPYING };

struct fst3fs_slot {
	struct fst3fs_io_req req;      /* first, so that a request leads back to its slot */
	struct fst3fs_dev_copy copy;   /* found back by container_of */
	struct fst3fs_dev_part *parts; /* of the copy, with room for `room` */
	size_t room;
	uint8_t *staging;     /* this slot's part of the staging buffer */
	struct fst3fs_io *io; /* the transport that reads it */
	struct fst3fs_entry *entry;
	size_t first;		  /* the first of the entry's segments that this piece may carry bytes of */
	bool direct;		  /* it was read into its destination */
	struct fst3fs_area *held; /* given up while the operating system reads into it: a reference */
	enum fst3fs_slot_state state;
	struct fst3fs_slot *next; /* in the free list, or among those landed */
	uint64_t started_ns, landed_ns, copying_ns;
};

/* What fst3fs_session_new needs to know. */
struct fst3fs_session_config {
	const struct fst3fs_io_ops *main; /* NULL: everything through the operating system */
	const char *mount_point;	  /* of `main` */
	const char *sdk_path;
	struct fst3fs_layout layout;
	uint32_t timeout_ms;
	struct fst3fs_populator
		*populator; /* outlives the session, except where it was given up with copies under way */
};

enum { FST3FS_MAX_DEVICES = 32 };

struct fst3fs_session {
	struct fst3fs_populator *populator;
	struct fst3fs_io *main;	 /* the mount's transport, NULL for none */
	struct fst3fs_io *posix; /* for every other file */
	dev_t mount_dev;	 /* of files that `main` reads */
	struct fst3fs_region *staging;
	struct fst3fs_layout layout;
	struct fst3fs_tuner tuner;
	struct fst3fs_waker waker;
	struct fst3fs_slot *slots;
	struct fst3fs_slot *free; /* last in, first out: the slot just copied is the one still in the caches */
	unsigned reading, reading_posix, copying;
	bool refused; /* the transport was full when last offered a request */
	struct fst3fs_dev *devs[FST3FS_MAX_DEVICES];
	unsigned ndevs;
};

int fst3fs_session_new(const struct fst3fs_session_config *config, struct fst3fs_session **out,
		       struct fst3fs_error *err);

/* Ends a session in which nothing is in flight, or gives it up whole with what is. Waits until `deadline_ns` at most
 * for what must be cleared away on the mount. */
void fst3fs_session_free(struct fst3fs_session *s, bool given_up, uint64_t deadline_ns);

/* The device that `dst` belongs to, opened at its first use. */
int fst3fs_session_device(struct fst3fs_session *s, uint64_t dst, struct fst3fs_dev **out, struct fst3fs_error *err);

/* The next thing that a device wants the user to know: its level and a line, or 0. */
int fst3fs_session_remark(struct fst3fs_session *s, char *line, size_t size);

/* Is [address, address + length) inside, outside of, or across the border of the staging buffer? */
enum fst3fs_inside { FST3FS_OUTSIDE, FST3FS_INSIDE, FST3FS_ACROSS };
enum fst3fs_inside fst3fs_inside(const struct fst3fs_region *region, uint64_t address, uint64_t length);

struct fst3fs_slot *fst3fs_slot_take(struct fst3fs_session *s);
void fst3fs_slot_give(struct fst3fs_session *s, struct fst3fs_slot *slot);

#endif

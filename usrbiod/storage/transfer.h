/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfer of one job's pieces in simulated time.
 *
 * A piece is what lies in one storage chunk. The pieces are fetched from the servers that hold them: all storage
 * requests of a job are asked for at once, wait until they are admitted, wait out their latencies side by side, and
 * their pieces pass the job's pipe one after another. A storage request ends when its last piece has passed.
 */
#ifndef USRBIOD_TRANSFER_H
#define USRBIOD_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "pool.h"
#include "storage.h"

struct piece {
	struct fst3fs_task copy; /* for the job that moves real bytes */
	struct transfer *transfer;
	struct fetch *fetch; /* which brings it */
	struct piece *next;  /* of the same fetch; then among those that are ready */
	uint64_t file_off;
	uint64_t at; /* offset in the target */
	uint32_t len;
	int request; /* of the job, which it belongs to */
	int64_t got; /* bytes moved, or a negative errno */
	bool hole;   /* nothing was ever written there */
};

/* A storage request: what the job wants of one server, or a part of that. */
struct fetch {
	struct permit permit;
	struct timer_event event; /* its answer comes: nominally at event.at_ns, from then on */
	struct transfer *transfer;
	struct piece *first, *last;
	uint64_t bytes;
	int count, left; /* pieces; those that have not passed yet */
};

struct transfer {
	struct timer_event event; /* the piece in the pipe has passed */
	struct storage *storage;
	struct piece *pieces; /* in the order they were added */
	struct fetch *fetches;
	int64_t reserved; /* room for so many */
	int count, fetch_count;
	int left;		    /* pieces that have not passed */
	struct piece *ready, *last; /* their turn comes when the pipe is free */
	struct piece *passing;	    /* is in the pipe; NULL = none */
	/* A piece's turn has come: its bytes pass the link now. Not called for a piece of 0 bytes. NULL = nothing to
	 * do. */
	void (*arrive)(struct transfer *x, struct piece *p);
	/* The last one has passed. Does not wait for whatever `arrive` has begun. */
	void (*done)(struct transfer *x);
	/* Instead, when storage is stopped. NULL = nothing to do. */
	void (*drop)(struct transfer *x);
};

/* How many pieces [off, off + len) is cut into; 1 for an empty range, which takes a latency. */
int64_t transfer_pieces(const struct storage *s, uint64_t off, uint64_t len);

/* Room for so many pieces, to be freed when the transfer is done or dropped, once or more. 0; -ENOBUFS more than there
 * may be at a time; -ENOMEM. */
int transfer_reserve(struct transfer *x, int64_t pieces);
void transfer_release(struct transfer *x);

/* Cuts a range of the file with that inode number, appends its pieces to `x`, which has room, and returns how many. */
int transfer_cut(struct transfer *x, uint64_t ino, uint64_t off, uint64_t len, uint64_t at, int request);

/* Calls arrive and done in simulated time on the timer's thread, or before it returns when nothing is simulated. */
void transfer_start(struct transfer *x);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfer of one job's pieces in simulated time.
 *
 * A piece is what lies in one storage chunk. All pieces of a job are asked for at once, wait out their latencies side
 * by side, and pass the job's pipe one after another.
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
	uint64_t ready_ns;
	uint64_t file_off;
	uint64_t at; /* offset in the target */
	uint32_t len;
	int request; /* of the job, which it belongs to */
	int64_t got; /* bytes moved, or a negative errno */
	bool hole;   /* nothing was ever written there */
};

struct transfer {
	struct timer_event event;
	struct storage *storage;
	struct piece *pieces; /* sorted by time from transfer_start() to transfer_sort() */
	int count, next;
	/* A piece's turn has come: its bytes pass the link now. Not called for a piece of 0 bytes. NULL = nothing to
	 * do. */
	void (*arrive)(struct transfer *x, struct piece *p);
	/* The last one has passed. Does not wait for whatever `arrive` has begun. */
	void (*done)(struct transfer *x);
};

/* How many pieces [off, off + len) is cut into at multiples of `chunk`; 1 for an empty range, which takes a latency. */
int64_t transfer_pieces(uint64_t off, uint64_t len, uint64_t chunk);

/* Cuts a range, appends its pieces to `x` (whose array has room), and returns how many. */
int transfer_cut(struct transfer *x, uint64_t off, uint64_t len, uint64_t chunk, uint64_t at, int request);

/* Calls arrive and done in simulated time on the timer's thread, or before it returns when nothing is simulated. When
 * the timer is stopped, `x->event.drop` is called instead. */
void transfer_start(struct transfer *x);

/* Puts the pieces back into the order they were added in, when nobody uses them any more. */
void transfer_sort(struct transfer *x);

#endif

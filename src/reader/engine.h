/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: calls, their ranges, and the loop that moves pieces from a transport to a device.
 *
 * Any number of threads may be inside fst3fs_engine_run. One of them, the driver, runs the loop for all: it opens
 * files ahead, keeps the window of requests full from every active call in turn, takes what has landed to its device
 * and frees slots. The others sleep until their call is done or the driver, whose own call has ended, hands the loop
 * over.
 *
 * The one rule: a call ends only when none of its slots is reading or copying, or when the session they belong to has
 * been given up whole.
 */
#ifndef FST3FS_ENGINE_H
#define FST3FS_ENGINE_H

#include "reader_i.h"

enum fst3fs_entry_state { FST3FS_ENTRY_NEW, FST3FS_ENTRY_OPENING, FST3FS_ENTRY_READY, FST3FS_ENTRY_DONE };

struct fst3fs_open_job;

/* One range of a call. */
struct fst3fs_entry {
	struct fst3fs_request *request;
	struct fst3fs_call *call;
	enum fst3fs_entry_state state;
	struct fst3fs_open_job *job; /* while OPENING */
	struct fst3fs_file *file;    /* while READY */
	struct fst3fs_io *io;
	struct fst3fs_dev *dev;	      /* NULL: nothing to copy */
	struct fst3fs_region *region; /* the destination is in it: read there directly */
	struct fst3fs_memory *memory; /* ... and it is this memory's */
	uint64_t next, end;	      /* file offsets still to be requested */
	uint64_t delivered;
	unsigned busy; /* slots that carry a piece of this range */
	int status;    /* the first error */
};

struct fst3fs_call {
	struct fst3fs_entry *entries;
	size_t count;
	uint64_t cap;	 /* largest request, 0 = no bound of the caller's */
	bool in_turn;	 /* read a bufferful, then copy it */
	bool own_buffer; /* the destination is the staging buffer itself */

	/* Set by the engine. */
	struct fst3fs_error *err; /* of the first failing range in the order of the array */
	size_t err_index;
	size_t opened; /* entries[opened...] have not begun to be opened */
	size_t cursor; /* entries[...cursor] have nothing more to request */
	size_t done_count;
	unsigned opening, busy;
	struct fst3fs_slot *landed; /* in_turn: waiting to be copied */
	uint64_t progress_ns;	    /* when something last moved for this call */
	uint64_t interrupted_ns;    /* when its caller was interrupted, 0 = not */
	bool done, given_up;
	bool stale;	       /* a file of it was found on a mount that replaced the session's */
	const char *off_mount; /* the first file that was not on the mount */
	pthread_cond_t wake;
	struct fst3fs_call *next;
};

/* Delivers all ranges of `call` and fills their results. `err` as in fst3fs_read_many, and not NULL. 0 or the first
 * error. */
int fst3fs_engine_run(struct fst3fs_reader *r, struct fst3fs_call *call, struct fst3fs_error *err);

/* Is this thread in a call of `r`, and so in a callback? Waiting for calls would be waiting for itself. */
bool fst3fs_engine_inside(const struct fst3fs_reader *r);

/* Waits until no call is left, keeps new ones out, and takes the session away from the reader (NULL when there is
 * none, or it is not stale and `stale_alone`). 0, paired with fst3fs_engine_resume; or -EINTR, and nothing was done. */
int fst3fs_engine_pause(struct fst3fs_reader *r, bool stale_alone, struct fst3fs_session **out);
void fst3fs_engine_resume(struct fst3fs_reader *r);

/* ------------------------------------------------------------------ call.c: bookkeeping, under the lock */

void fst3fs_entry_fail(struct fst3fs_reader *r, struct fst3fs_entry *e, const struct fst3fs_error *why);
/* Ends a range that has nothing left to request and no slot, and its call with the last of them. */
void fst3fs_entry_settle(struct fst3fs_reader *r, struct fst3fs_entry *e);
/* Fails every range of the call that is not done. */
void fst3fs_call_fail(struct fst3fs_reader *r, struct fst3fs_call *c, const struct fst3fs_error *why);
/* The next range with something to request, or NULL. */
struct fst3fs_entry *fst3fs_call_next(struct fst3fs_call *c);

/* ------------------------------------------------------------------ opener.c: files opened ahead, under the lock */

/* Starts opening what will be needed soon; whether anything was started. */
bool fst3fs_open_ahead(struct fst3fs_reader *r, struct fst3fs_call *c);
/* Forgets an opening that is still under way: its thread cleans up after itself. */
void fst3fs_open_forget(struct fst3fs_entry *e);

/* ------------------------------------------------------------------ giveup.c */

/* Gives up buffer, ring and every request in flight; `c` fails with `why`, and the other active calls because of it.
 * Under the lock. */
void fst3fs_give_up(struct fst3fs_reader *r, struct fst3fs_call *c, const struct fst3fs_error *why);

/* ------------------------------------------------------------------ deliver.c: from landed to done, under the lock */

/* Reaps transports and devices; 1 something moved, 0 not, or what broke the transport. */
int fst3fs_collect(struct fst3fs_reader *r, struct fst3fs_error *err);
/* Devices alone; whether anything moved. */
bool fst3fs_collect_copies(struct fst3fs_reader *r);
/* Copies what a call that copies in turn has read, when none of it is still being read. */
bool fst3fs_copy_turn(struct fst3fs_reader *r, struct fst3fs_call *c);

#endif

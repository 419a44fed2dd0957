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
 *
 * This header is what the floor above sees; engine_i.h is what the engine's own files share.
 */
#ifndef FST3FS_ENGINE_H
#define FST3FS_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "clock.h"
#include "files.h"
#include "fst3fs.h"
#include "log.h"
#include "pool.h"
#include "populator.h"
#include "session.h"
#include "stats.h"

struct fst3fs_call;

/* How often a thread that waits asks whether its caller was interrupted. */
#define FST3FS_GLANCE_NS (100 * FST3FS_NS_PER_MS)

/* Embedded in its owner. */
struct fst3fs_engine {
	/* Set once. */
	struct fst3fs_log log;
	int (*interrupted)(void *ctx);
	void *interrupted_ctx;
	uint32_t timeout_ms;
	bool require_usrbio;
	char *mount_point; /* of the 3FS that is read through `main`; "" for none */
	char *sdk_path;
	const struct fst3fs_io_ops *main; /* NULL: everything through the operating system */
	struct fst3fs_layout layout;
	struct fst3fs_files *files;
	struct fst3fs_pool *openers;
	struct fst3fs_trace *trace;	      /* NULL: nobody asked for one */
	struct fst3fs_populator *populator;   /* NULL: memory is faulted in as it is written */
	void (*end)(struct fst3fs_engine *g); /* the owner's: the last reference is gone */

	pthread_mutex_t lock; /* everything below, and the session's insides */
	pthread_cond_t idle;  /* no call is left, or a release has ended */
	unsigned refs;	      /* the owner's, and one for each thread and memory that may outlive it */
	struct fst3fs_session *session;
	struct fst3fs_call *active, *waiting; /* circularly turned / in order of arrival */
	bool driving;			      /* a thread is in the loop */
	bool stale;			      /* the mount was replaced under the session */
	unsigned releasing;
	char devices[256];
	struct fst3fs_counters count;
};

/* Everything that is set once comes from the options, `main` and `mount_point`. False: no memory, and nothing is left.
 * Undone by fst3fs_engine_fini, when `end` is called. */
bool fst3fs_engine_init(struct fst3fs_engine *g, const struct fst3fs_options *o, const struct fst3fs_io_ops *main,
			const char *mount_point, void (*end)(struct fst3fs_engine *g));
void fst3fs_engine_fini(struct fst3fs_engine *g);

void fst3fs_engine_ref(struct fst3fs_engine *g);   /* takes the lock */
void fst3fs_engine_unref(struct fst3fs_engine *g); /* takes the lock */

/* Asks the callback of the options. On the thread of the call, without a lock. */
bool fst3fs_engine_asks_to_stop(const struct fst3fs_engine *g);
/* This thread is one of the library's own, in no call of anybody's: `stop` is what says that it is to stop. */
void fst3fs_engine_background(const atomic_bool *stop);
/* Sleeps until `cond` is signalled, or a moment; whether the caller asks to stop and it was not. Under the lock. */
bool fst3fs_engine_doze(struct fst3fs_engine *g, pthread_cond_t *cond);

/* A session of this engine's settings. Without the lock. */
int fst3fs_engine_session_new(struct fst3fs_engine *g, struct fst3fs_session **out, struct fst3fs_error *err);

/* ------------------------------------------------------------------ calls */

/* What somebody waits for: it is over when nothing is left, when no segment is pending, or when one has failed. */
struct fst3fs_target {
	uint64_t left;			/* bytes that are not delivered yet */
	unsigned pending;		/* segments whose ranges have not ended */
	int status;			/* the first error of a range that carries a part of it */
	const struct fst3fs_error *why; /* that range's; NULL: there was no memory for it */
};

/* Where bytes of a range go. */
struct fst3fs_segment {
	uint64_t offset, length;      /* of the file */
	uint64_t dst;		      /* 0 = nowhere */
	uint64_t reach;		      /* the largest end of the range's segments up to this one */
	uint64_t delivered;	      /* bytes of it */
	struct fst3fs_target *target; /* NULL: nobody waits for it alone */
};

enum fst3fs_entry_state { FST3FS_ENTRY_NEW, FST3FS_ENTRY_OPENING, FST3FS_ENTRY_READY, FST3FS_ENTRY_DONE };

/* One range of a call: contiguous bytes of a file that go to one place or to many. */
struct fst3fs_entry {
	const char *path;
	uint64_t offset, length;
	struct fst3fs_segment *segments; /* by offset; all of them lie in the range, and on one device */
	size_t nsegments;		 /* >= 1 */
	struct fst3fs_segment whole;	 /* room for the only segment of a range that goes to one place */
	bool exact;			 /* a file that ends inside the range is an error */
	uint64_t inode;			 /* another file under the path is an error; 0 = any will do */
	struct fst3fs_area *area;	 /* the destinations lie in it, as close together as in the file */

	/* Set by the engine. */
	struct fst3fs_call *call;
	size_t index; /* in the call */
	enum fst3fs_entry_state state;
	struct fst3fs_entry **opener; /* while OPENING: where the one that opens notes for whom */
	struct fst3fs_file *file;     /* while READY */
	struct fst3fs_io *io;
	struct fst3fs_dev *dev;	      /* NULL: nothing to copy */
	struct fst3fs_region *region; /* the destination is in it: read there directly */
	uint64_t next, end;	      /* file offsets still to be requested */
	size_t segment;		      /* the first that lies beyond `next` */
	uint64_t looked;	      /* up to here destinations went to the populator */
	size_t looked_segment;	      /* the first that lies beyond it */
	uint64_t delivered;	      /* bytes of the range, those between segments too */
	unsigned busy;		      /* slots that carry a piece of this range */
	int status;		      /* the first error */
	struct fst3fs_error *why; /* the same in words, where targets wait for it; from malloc, its owner's to free */
};

struct fst3fs_call {
	struct fst3fs_entry **entries;
	size_t count;
	uint64_t cap;		   /* largest request, 0 = no bound of the caller's */
	bool in_turn;		   /* read a bufferful, then copy it */
	bool own_buffer;	   /* the destination is the staging buffer itself */
	bool open;		   /* more ranges may be added: its last one is not the last */
	pthread_cond_t *moved;	   /* told when a target is done; NULL: there are none */
	struct fst3fs_place place; /* where fresh memory comes from, if it is `placed`, else where the thread runs */
	bool placed;

	/* Set by the engine. */
	struct fst3fs_error *err; /* of the first failing range in the order of the array */
	size_t err_index;
	size_t opened; /* entries[opened...] have not begun to be opened */
	size_t cursor; /* entries[...cursor] have nothing more to request */
	size_t done_count;
	unsigned opening, busy;
	struct fst3fs_slot *landed;  /* in_turn: waiting to be copied */
	uint64_t run_begin, run_end; /* addresses that are still to go to the populator */
	uint64_t progress_ns;	     /* when something last moved for this call */
	uint64_t interrupted_ns;     /* when its caller was interrupted, 0 = not */
	bool done, given_up;
	bool stale;	       /* a file of it was found on a mount that replaced the session's */
	bool renewed;	       /* the session was, because its mount was replaced */
	const char *off_mount; /* the first file that was not on the mount */
	pthread_cond_t wake;
	struct fst3fs_call *next;
};

/* Makes an entry a range that goes to one place. */
void fst3fs_entry_init(struct fst3fs_entry *e, const char *path, uint64_t offset, uint64_t length, uint64_t dst);
/* Tells the targets of an entry that has ended, or never will, with `status`; a stale call leaves that to its owner.
 * Under the lock. */
void fst3fs_entry_end_targets(struct fst3fs_entry *e, int status, pthread_cond_t *moved);

/* Readies a call for the engine; from here on others may append to it and cancel it. `err`, not NULL, gets the error of
 * the first failing range in the order of the array. Undone by fst3fs_call_end. */
void fst3fs_call_begin(struct fst3fs_call *call, struct fst3fs_error *err);
void fst3fs_call_end(struct fst3fs_call *call);
/* Makes a call that has ended as it was when it began, for it to be run again. Under the lock. */
void fst3fs_call_rewind(struct fst3fs_call *call);

/* Delivers all ranges of `call`: their `delivered` or `status`. 0 or the first error. */
int fst3fs_engine_run(struct fst3fs_engine *g, struct fst3fs_call *call);

/* Adds a range to a call that another thread runs, behind those that it has: 1; 0 when that call is ending, so that the
 * range needs another; or -ENOMEM. `entries` is from malloc, with room for a power of two. Under the lock. */
int fst3fs_engine_append(struct fst3fs_engine *g, struct fst3fs_call *call, struct fst3fs_entry *e);
/* Ends a call that another thread runs, as soon as nothing of it is in flight; it is not run again. Under the lock. */
void fst3fs_engine_cancel(struct fst3fs_engine *g, struct fst3fs_call *call);

/* Is this thread in a call of `g`, and so in a callback? Waiting for calls would be waiting for itself. */
bool fst3fs_engine_inside(const struct fst3fs_engine *g);

/* Waits until no call is left, keeps new ones out, and takes the session away from the engine (NULL when there is
 * none, or it is not stale and `stale_alone`). 0, paired with fst3fs_engine_resume; or -EINTR, and nothing was done. */
int fst3fs_engine_pause(struct fst3fs_engine *g, bool stale_alone, struct fst3fs_session **out);
void fst3fs_engine_resume(struct fst3fs_engine *g);

#endif

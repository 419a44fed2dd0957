/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the engine offer each other, from the lowest to the loop in engine.c. Under the lock, all of it. */
#ifndef FST3FS_ENGINE_I_H
#define FST3FS_ENGINE_I_H

#include "engine.h"

/* ------------------------------------------------------------------ call.c: bookkeeping of calls and ranges */

/* How many ranges beyond the first unfinished one are considered: files are opened this far ahead. */
enum { FST3FS_CALL_AHEAD = 64 };

void fst3fs_entry_fail(struct fst3fs_engine *g, struct fst3fs_entry *e, const struct fst3fs_error *why);
/* Ends a range that has nothing left to request and no slot, and its call with the last of them. */
void fst3fs_entry_settle(struct fst3fs_engine *g, struct fst3fs_entry *e);
/* Fails every range of the call that is not done. */
void fst3fs_call_fail(struct fst3fs_engine *g, struct fst3fs_call *c, const struct fst3fs_error *why);
/* The next range with something to request, or NULL. */
struct fst3fs_entry *fst3fs_call_next(struct fst3fs_call *c);
/* The caller of `c` wants no more of it: nothing is requested for it any more, and it ends when its slots are free. */
void fst3fs_call_interrupt(struct fst3fs_engine *g, struct fst3fs_call *c, int code, const char *text);

/* ------------------------------------------------------------------ open_ahead.c: files opened ahead */

/* Starts opening what will be needed soon; whether anything was started. */
bool fst3fs_open_ahead(struct fst3fs_engine *g, struct fst3fs_call *c);

/* ------------------------------------------------------------------ look_ahead.c: memory made resident ahead */

/* Has host memory made resident that bytes of the call will soon go to. */
void fst3fs_look_ahead(struct fst3fs_engine *g, struct fst3fs_call *c);

/* ------------------------------------------------------------------ fill.c: requests to the transport */

/* Sends requests until the window is full; whether any was sent. */
bool fst3fs_fill_window(struct fst3fs_engine *g);
/* Is the window full, with at least as much again to request? Then what lands can wait a moment. */
bool fst3fs_fill_plenty(struct fst3fs_engine *g);

/* ------------------------------------------------------------------ deliver.c: from landed to done */

/* Reaps transports and devices; 1 something moved, 0 not, or what broke the transport. */
int fst3fs_collect(struct fst3fs_engine *g, struct fst3fs_error *err);
/* Devices alone; whether anything moved. */
bool fst3fs_collect_copies(struct fst3fs_engine *g);
/* Copies what a call that copies in turn has read, when none of it is still being read. */
bool fst3fs_copy_turn(struct fst3fs_engine *g, struct fst3fs_call *c);

/* ------------------------------------------------------------------ giveup.c */

/* Gives up buffer, ring and every request in flight; `c` fails with `why`, and the other active calls because of it.
 * NULL: no call is active any more. */
void fst3fs_give_up(struct fst3fs_engine *g, struct fst3fs_call *c, const struct fst3fs_error *why);

/* ------------------------------------------------------------------ timeout.c: what bounds a wait */

/* Ends calls that have waited too long; whether the set of calls changed. Sets when to look again. */
bool fst3fs_check_bounds(struct fst3fs_engine *g, uint64_t *look_again_ns);
/* Gives up what interrupted calls still wait for. Only the driver may: it is the one that could be asleep in the
 * session. */
void fst3fs_check_grace(struct fst3fs_engine *g);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests to keep in flight.
 *
 * As many as fit is right for a link, where each request has a latency and a ceiling of its own. Where there is no
 * latency, as with a daemon that copies from this machine's memory, a buffer that is written round and round falls out
 * of the processor's caches, and a window of a quarter reads up to half as fast again. Nothing but trying tells which
 * it is. So once a reader has read a while, a quarter is tried against the whole, twice in turn, and kept only when
 * both times it was clearly faster. On a link that is shared it never is, so that readers keep sharing it fairly.
 *
 * It also tells how long nothing need be looked at: as long as the window is full, the requests that land meanwhile are
 * replaced together, and waking once for several of them costs a fraction of the CPU time.
 *
 * Pure arithmetic; the caller brings the clock.
 */
#ifndef FST3FS_TUNER_H
#define FST3FS_TUNER_H

#include <stdint.h>

struct fst3fs_tuner {
	uint32_t limit; /* requests to keep in flight now */
	/* tuner.c's own */
	uint32_t whole, quarter; /* the two candidates; quarter 0 = there is nothing to try */
	uint64_t piece;
	enum { FST3FS_TUNER_STEADY, FST3FS_TUNER_SETTLING, FST3FS_TUNER_MEASURING } state;
	unsigned trial;		 /* 0 and 2 try the whole, 1 and 3 the quarter */
	uint64_t left;		 /* bytes until the state changes */
	uint64_t start_ns;	 /* of the measurement */
	uint64_t landed_ns;	 /* when something last landed; 0 = nothing was in flight since */
	uint64_t request_ns_q20; /* time between two requests, lately, in 2^-20 ns */
	uint64_t trial_ns[4];	 /* what each trial took */
};

void fst3fs_tuner_init(struct fst3fs_tuner *t, uint32_t window, uint64_t piece);
/* `requests` (>= 1) have landed, `bytes` in all. */
void fst3fs_tuner_landed(struct fst3fs_tuner *t, uint32_t requests, uint64_t bytes, uint64_t now_ns);
/* Nothing is in flight: what was being measured was not the window. */
void fst3fs_tuner_idle(struct fst3fs_tuner *t);
/* How long a sleeper with a full window may sleep whatever lands: until an eighth of its requests have, by the pace of
 * late; small ones land quickly. 0 = not at all. */
uint64_t fst3fs_tuner_nap_ns(const struct fst3fs_tuner *t);

#endif

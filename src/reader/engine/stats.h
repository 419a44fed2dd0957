/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine counts, always, and what it writes to a trace when one was asked for. Under the engine's lock. */
#ifndef FST3FS_ENGINE_STATS_H
#define FST3FS_ENGINE_STATS_H

#include "fst3fs.h"
#include "session.h"
#include "trace.h"

struct fst3fs_counters {
	uint64_t reads, requests, bytes, bytes_posix, bytes_direct, given_up, fallbacks;
	uint64_t io_wait_ns, copy_wait_ns, slot_wait_ns, consumer_wait_ns;
	unsigned in_flight, in_flight_max;
	uint64_t changed_ns;   /* when in_flight last changed */
	uint64_t in_flight_ns; /* sum of in_flight x time */
	uint64_t flight_ns;    /* time in which anything was in flight */
	uint64_t latency_ns;   /* sum */
	uint64_t latency[FST3FS_LATENCY_BUCKETS];
};

/* A request is on its way in `slot` / has landed in it / was given up with its session. */
void fst3fs_count_started(struct fst3fs_counters *c, struct fst3fs_slot *slot);
void fst3fs_count_landed(struct fst3fs_counters *c, struct fst3fs_slot *slot);
void fst3fs_count_given_up(struct fst3fs_counters *c);

/* The bucket of a latency: the first whose bound of 2^i microseconds is not below it; the last takes all others. */
unsigned fst3fs_latency_bucket(uint64_t ns);

#endif

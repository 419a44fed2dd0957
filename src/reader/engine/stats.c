/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include "clock.h"

/* Time goes on with as many in flight as there were; then there are others. */
static void change(struct fst3fs_counters *c, uint64_t now_ns, unsigned in_flight)
{
	if (c->in_flight > 0) {
		c->in_flight_ns += c->in_flight * (now_ns - c->changed_ns);
		c->flight_ns += now_ns - c->changed_ns;
	}
	c->changed_ns = now_ns;
	c->in_flight = in_flight;
	if (in_flight > c->in_flight_max)
		c->in_flight_max = in_flight;
}

void fst3fs_count_started(struct fst3fs_counters *c, struct fst3fs_slot *slot)
{
	slot->started_ns = fst3fs_now_ns();
	c->requests++;
	change(c, slot->started_ns, c->in_flight + 1);
}

unsigned fst3fs_latency_bucket(uint64_t ns)
{
	uint64_t us = (ns + 999) / 1000;
	unsigned i = us > 1 ? 64 - (unsigned)__builtin_clzll(us - 1) : 0;

	return i < FST3FS_LATENCY_BUCKETS ? i : FST3FS_LATENCY_BUCKETS - 1;
}

void fst3fs_count_landed(struct fst3fs_counters *c, struct fst3fs_slot *slot)
{
	uint64_t ns;

	slot->landed_ns = fst3fs_now_ns();
	ns = slot->landed_ns - slot->started_ns;
	c->latency_ns += ns;
	c->latency[fst3fs_latency_bucket(ns)]++;
	change(c, slot->landed_ns, c->in_flight - 1);
}

void fst3fs_count_given_up(struct fst3fs_counters *c)
{
	c->given_up++;
	change(c, fst3fs_now_ns(), 0);
}

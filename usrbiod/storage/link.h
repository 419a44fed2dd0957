/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated link: arithmetic on absolute times, nothing that sleeps.
 *
 * A sub-read is *ready* a latency after it was asked for, and then its bytes pass two pipes at once: the link, which
 * all I/O of the mount shares, first come first served; and its job's own, in which the job's sub-reads follow one
 * another. Every time is computed from the nominal one before it, never from when a thread happened to look, so that
 * a late wake-up delays one completion and not the link.
 */
#ifndef USRBIOD_LINK_H
#define USRBIOD_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct link_config {
	uint64_t latency_ns;	  /* of every sub-read */
	uint64_t jitter_ns;	  /* 0 to this much more, uniformly */
	uint64_t bytes_per_s;	  /* the link, 0 = no limit */
	uint64_t job_bytes_per_s; /* one job, 0 = no limit */
};

struct link {
	struct link_config config;
	pthread_mutex_t lock;
	uint64_t free_ns; /* the link has carried all that was given to it */
	uint64_t random;  /* state of the jitter's generator */
};

void link_init(struct link *l, const struct link_config *config);
void link_fini(struct link *l);

/* Does anything take simulated time here? */
bool link_simulates(const struct link *l);

/* The time that `bytes` take at a rate, 0 at rate 0 (no limit). */
uint64_t link_wire_ns(uint64_t bytes, uint64_t bytes_per_s);

/* When a sub-read asked for at `now_ns` is ready. */
uint64_t link_ready_ns(struct link *l, uint64_t now_ns);

/* Sends `bytes` that may leave at `at_ns`: takes the link for them and returns when the last one has reached its
 * job. Calls must come in the order of `at_ns`. */
uint64_t link_send(struct link *l, uint64_t at_ns, uint64_t bytes);

#endif

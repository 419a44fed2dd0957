/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <string.h>

#include "clock.h"

void stats_init(struct stats *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->started_ns = s->last_change_ns = fst3fs_now_ns();
}

void stats_fini(struct stats *s)
{
	pthread_mutex_destroy(&s->lock);
}

void stats_op(struct stats *s, enum stats_op op)
{
	atomic_fetch_add_explicit(&s->ops[op], 1, memory_order_relaxed);
}

void stats_violation(struct stats *s, enum violation kind)
{
	atomic_fetch_add_explicit(&s->violations[kind], 1, memory_order_relaxed);
}

static void change_in_flight(struct stats *s, int change)
{
	uint64_t now = fst3fs_now_ns(), passed = now - s->last_change_ns;

	if (s->ring.in_flight)
		s->ring.busy_ns += passed;
	s->ring.in_flight_ns += passed * (uint64_t)s->ring.in_flight;
	s->last_change_ns = now;
	s->ring.in_flight += change;
	if (s->ring.in_flight > s->ring.in_flight_max)
		s->ring.in_flight_max = s->ring.in_flight;
}

void stats_job_formed(struct stats *s, int requests)
{
	pthread_mutex_lock(&s->lock);
	s->ring.requests += (uint64_t)requests;
	s->ring.batches++;
	change_in_flight(s, requests);
	pthread_mutex_unlock(&s->lock);
}

void stats_job_done(struct stats *s, int requests, uint64_t bytes)
{
	pthread_mutex_lock(&s->lock);
	s->ring.bytes += bytes;
	change_in_flight(s, -requests);
	pthread_mutex_unlock(&s->lock);
}

void stats_requests(struct stats *s, struct stats_requests *out)
{
	pthread_mutex_lock(&s->lock);
	change_in_flight(s, 0);
	*out = s->ring;
	pthread_mutex_unlock(&s->lock);
}

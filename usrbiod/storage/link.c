/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include "clock.h"

void link_init(struct link *l, const struct link_config *config)
{
	l->config = *config;
	pthread_mutex_init(&l->lock, NULL);
	l->free_ns = 0;
	l->random = 0x9e3779b97f4a7c15ull;
}

void link_fini(struct link *l)
{
	pthread_mutex_destroy(&l->lock);
}

bool link_simulates(const struct link *l)
{
	const struct link_config *c = &l->config;

	return c->latency_ns || c->jitter_ns || c->bytes_per_s || c->job_bytes_per_s;
}

uint64_t link_wire_ns(uint64_t bytes, uint64_t bytes_per_s)
{
	if (!bytes_per_s)
		return 0;
	return (uint64_t)(((unsigned __int128)bytes * FST3FS_NS_PER_S + bytes_per_s / 2) / bytes_per_s);
}

/* xorshift64*: jitter needs to be even, not unpredictable. */
static uint64_t next_random(struct link *l)
{
	l->random ^= l->random >> 12;
	l->random ^= l->random << 25;
	l->random ^= l->random >> 27;
	return l->random * 0x2545f4914f6cdd1dull;
}

uint64_t link_ready_ns(struct link *l, uint64_t now_ns)
{
	uint64_t jitter_ns = 0;

	if (l->config.jitter_ns) {
		pthread_mutex_lock(&l->lock);
		jitter_ns = next_random(l) % (l->config.jitter_ns + 1);
		pthread_mutex_unlock(&l->lock);
	}
	return now_ns + l->config.latency_ns + jitter_ns;
}

uint64_t link_send(struct link *l, uint64_t at_ns, uint64_t bytes)
{
	uint64_t start_ns, link_done_ns, job_done_ns;

	pthread_mutex_lock(&l->lock);
	start_ns = at_ns > l->free_ns ? at_ns : l->free_ns;
	link_done_ns = start_ns + link_wire_ns(bytes, l->config.bytes_per_s);
	l->free_ns = link_done_ns;
	pthread_mutex_unlock(&l->lock);
	job_done_ns = start_ns + link_wire_ns(bytes, l->config.job_bytes_per_s);
	return job_done_ns > link_done_ns ? job_done_ns : link_done_ns;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "storage.h"

#include <string.h>

enum {
	STRIPE = 16, /* as files on 3FS usually are: chains of targets that their chunks go round */
};

int storage_start(struct storage *s, const struct storage_config *config)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->chunk_bytes = config->chunk_bytes;
	memcpy(s->faults.every, config->fault_every, sizeof(s->faults.every));
	pthread_mutex_init(&s->lock, NULL);
	link_init(&s->link, &config->link);
	rc = admission_init(&s->admission, &config->admission);
	return rc ? rc : timer_start(&s->timer);
}

void storage_stop(struct storage *s)
{
	if (s->timer)
		timer_stop(s->timer);
	/* After it, because nothing is granted any more when the timer has dropped its events. */
	admission_stop(&s->admission);
}

void storage_fini(struct storage *s)
{
	if (s->timer)
		timer_free(s->timer);
	admission_fini(&s->admission);
	link_fini(&s->link);
	pthread_mutex_destroy(&s->lock);
}

int storage_server(const struct storage *s, uint64_t ino, uint64_t off)
{
	/* Files begin anywhere, and those with neighbouring numbers not side by side. */
	uint64_t first = ino * 0x9e3779b97f4a7c15ull >> 32, chain = off / s->chunk_bytes % STRIPE;

	return (int)((first + chain) % (uint64_t)s->admission.config.servers);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "storage.h"

#include <string.h>

int storage_start(struct storage *s, const struct storage_config *config)
{
	memset(s, 0, sizeof(*s));
	s->chunk_bytes = config->chunk_bytes;
	memcpy(s->faults.every, config->fault_every, sizeof(s->faults.every));
	link_init(&s->link, &config->link);
	return timer_start(&s->timer);
}

void storage_stop(struct storage *s)
{
	if (s->timer)
		timer_stop(s->timer);
}

void storage_fini(struct storage *s)
{
	if (s->timer)
		timer_free(s->timer);
	link_fini(&s->link);
}

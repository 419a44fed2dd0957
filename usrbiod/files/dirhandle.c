/* SPDX-License-Identifier: Apache-2.0 */
#include "dirhandle.h"

#include <stdlib.h>

void dirhandles_init(struct dirhandles *t)
{
	pthread_mutex_init(&t->lock, NULL);
	t->first = NULL;
}

struct dirhandle *dirhandle_open(struct dirhandles *t, DIR *dir, pid_t pid)
{
	struct dirhandle *h = malloc(sizeof(*h));

	if (!h) {
		if (dir)
			closedir(dir);
		return NULL;
	}
	h->dir = dir;
	h->pid = pid;
	pthread_mutex_lock(&t->lock);
	h->next = t->first;
	h->link = &t->first;
	if (h->next)
		h->next->link = &h->next;
	t->first = h;
	pthread_mutex_unlock(&t->lock);
	return h;
}

void dirhandle_close(struct dirhandles *t, struct dirhandle *h)
{
	pthread_mutex_lock(&t->lock);
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	pthread_mutex_unlock(&t->lock);
	if (h->dir)
		closedir(h->dir);
	free(h);
}

void dirhandles_fini(struct dirhandles *t)
{
	while (t->first)
		dirhandle_close(t, t->first);
	pthread_mutex_destroy(&t->lock);
}

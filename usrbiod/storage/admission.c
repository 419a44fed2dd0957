/* SPDX-License-Identifier: Apache-2.0 */
#include "admission.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

struct admission_server {
	int places; /* taken, by those in flight and those that wait for the host */
	int in_flight;
	struct permit_queue waiting;
};

static void push(struct permit_queue *q, struct permit *p)
{
	p->next = NULL;
	*q->last = p;
	q->last = &p->next;
}

static struct permit *pop(struct permit_queue *q)
{
	struct permit *p = q->first;

	if (!p)
		return NULL;
	q->first = p->next;
	if (!q->first)
		q->last = &q->first;
	return p;
}

static void queue_init(struct permit_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

int admission_init(struct admission *a, const struct admission_config *config)
{
	*a = (struct admission){.config = *config};
	pthread_mutex_init(&a->lock, NULL);
	queue_init(&a->waiting);
	if (!a->config.host)
		a->config.host = INT_MAX;
	if (!a->config.server)
		a->config.server = INT_MAX;
	a->servers = calloc((size_t)config->servers, sizeof(*a->servers));
	if (!a->servers)
		return -ENOMEM;
	for (int i = 0; i < config->servers; i++)
		queue_init(&a->servers[i].waiting);
	return 0;
}

void admission_fini(struct admission *a)
{
	free(a->servers);
	pthread_mutex_destroy(&a->lock);
}

bool admission_limits(const struct admission *a)
{
	return a->config.host < INT_MAX || a->config.server < INT_MAX;
}

static void enter(struct admission *a, struct permit *p)
{
	struct admission_server *s = &a->servers[p->server];

	a->counts.in_flight++;
	s->in_flight++;
	if (a->counts.in_flight > a->counts.in_flight_max)
		a->counts.in_flight_max = a->counts.in_flight;
	if (s->in_flight > a->counts.server_max)
		a->counts.server_max = s->in_flight;
}

/* With a place at its server: may it go? Otherwise it waits. */
static bool enter_or_wait(struct admission *a, struct permit *p)
{
	bool may = a->counts.in_flight < a->config.host;

	if (may)
		enter(a, p);
	else
		push(&a->waiting, p);
	return may;
}

void admission_ask(struct admission *a, struct permit *p, uint64_t at_ns)
{
	struct admission_server *s = &a->servers[p->server];
	bool stopped, granted = false;

	pthread_mutex_lock(&a->lock);
	stopped = a->stopped;
	if (!stopped && s->places < a->config.server) {
		s->places++;
		granted = enter_or_wait(a, p);
	} else if (!stopped) {
		push(&s->waiting, p);
	}
	a->counts.requests++;
	a->counts.waited += !granted;
	pthread_mutex_unlock(&a->lock);
	if (stopped)
		p->drop(p);
	else if (granted)
		p->granted(p, at_ns);
}

void admission_give_back(struct admission *a, struct permit *p, uint64_t at_ns)
{
	struct admission_server *s = &a->servers[p->server];
	struct permit *of_host, *of_server;

	pthread_mutex_lock(&a->lock);
	a->counts.in_flight--;
	s->in_flight--;
	of_host = pop(&a->waiting);
	if (of_host)
		enter(a, of_host);
	of_server = pop(&s->waiting);
	if (!of_server)
		s->places--;
	else if (!enter_or_wait(a, of_server))
		of_server = NULL;
	pthread_mutex_unlock(&a->lock);
	if (of_host)
		of_host->granted(of_host, at_ns);
	if (of_server)
		of_server->granted(of_server, at_ns);
}

static void drop_all(struct permit_queue *q)
{
	struct permit *p;

	while ((p = pop(q)))
		p->drop(p);
}

void admission_stop(struct admission *a)
{
	pthread_mutex_lock(&a->lock);
	a->stopped = true;
	pthread_mutex_unlock(&a->lock);
	drop_all(&a->waiting);
	for (int i = 0; i < a->config.servers; i++)
		drop_all(&a->servers[i].waiting);
}

void admission_count(struct admission *a, struct admission_counts *out)
{
	pthread_mutex_lock(&a->lock);
	*out = a->counts;
	pthread_mutex_unlock(&a->lock);
}

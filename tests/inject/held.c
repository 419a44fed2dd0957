/* SPDX-License-Identifier: Apache-2.0 */
#include "held.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* Open addressing; a place that was emptied keeps what lies behind it reachable. */
enum { PLACES = 1 << 17 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place {
	const void *what;
	void *site;
} places[PLACES];
static const char emptied;
static long count, used, mapped;

static size_t hash(const void *what)
{
	return (size_t)(((uintptr_t)what >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % PLACES;
}

void held_add(void *what, void *site)
{
	size_t at;

	if (!what)
		return;
	pthread_mutex_lock(&lock);
	for (at = hash(what); places[at].what && places[at].what != &emptied; at = (at + 1) % PLACES)
		;
	used += places[at].what == NULL;
	if (used == PLACES)
		abort(); /* a longer run needs a larger table */
	places[at] = (struct place){.what = what, .site = site};
	count++;
	pthread_mutex_unlock(&lock);
}

void held_remove(const void *what)
{
	size_t at;

	if (!what)
		return;
	pthread_mutex_lock(&lock);
	for (at = hash(what); places[at].what && places[at].what != what; at = (at + 1) % PLACES)
		;
	if (places[at].what) {
		places[at] = (struct place){.what = &emptied};
		count--;
	}
	pthread_mutex_unlock(&lock);
}

void held_map(long bytes)
{
	const long page = sysconf(_SC_PAGESIZE);

	pthread_mutex_lock(&lock);
	mapped += (bytes < 0 ? bytes - page + 1 : bytes + page - 1) / page * page;
	pthread_mutex_unlock(&lock);
}

static long read_under_lock(const long *number)
{
	long value;

	pthread_mutex_lock(&lock);
	value = *number;
	pthread_mutex_unlock(&lock);
	return value;
}

long held_count(void)
{
	return read_under_lock(&count);
}

long held_mapped(void)
{
	return read_under_lock(&mapped);
}

void *held_site(long i)
{
	void *site = NULL;

	pthread_mutex_lock(&lock);
	for (size_t at = 0; at < PLACES && !site; at++)
		if (places[at].site && i-- == 0)
			site = places[at].site;
	pthread_mutex_unlock(&lock);
	return site;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "clock.h"
#include "realtime.h"

struct timer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct timer_event **heap; /* the earliest first; children of i are 2i + 1 and 2i + 2 */
	size_t count, room;
	uint64_t serial;
	bool stopped;
};

static bool earlier(const struct timer_event *a, const struct timer_event *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->serial < b->serial);
}

static bool heap_grow(struct timer *t)
{
	size_t room = t->room ? t->room * 2 : 256;
	struct timer_event **heap = realloc(t->heap, room * sizeof(*heap));

	if (!heap)
		return false;
	t->heap = heap;
	t->room = room;
	return true;
}

static void heap_push(struct timer *t, struct timer_event *ev)
{
	size_t i = t->count++;

	while (i > 0 && earlier(ev, t->heap[(i - 1) / 2])) {
		t->heap[i] = t->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	t->heap[i] = ev;
}

static struct timer_event *heap_pop(struct timer *t)
{
	struct timer_event *first = t->heap[0], *last = t->heap[--t->count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < t->count) {
		if (child + 1 < t->count && earlier(t->heap[child + 1], t->heap[child]))
			child++;
		if (!earlier(t->heap[child], last))
			break;
		t->heap[i] = t->heap[child];
		i = child;
	}
	t->heap[i] = last;
	return first;
}

static void timer_sleep(struct timer *t)
{
	struct timespec ts;

	if (t->count == 0) {
		pthread_cond_wait(&t->wake, &t->lock);
		return;
	}
	ts = fst3fs_timespec(t->heap[0]->at_ns);
	pthread_cond_clockwait(&t->wake, &t->lock, CLOCK_MONOTONIC, &ts);
}

static void *timer_thread(void *arg)
{
	struct timer *t = arg;

	realtime_thread("timer");
	pthread_mutex_lock(&t->lock);
	while (!t->stopped) {
		struct timer_event *ev;

		if (t->count == 0 || t->heap[0]->at_ns > fst3fs_now_ns()) {
			timer_sleep(t);
			continue;
		}
		ev = heap_pop(t);
		pthread_mutex_unlock(&t->lock);
		ev->fire(ev);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int timer_start(struct timer **out)
{
	struct timer *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	rc = pthread_create(&t->thread, NULL, timer_thread, t);
	if (rc) {
		pthread_cond_destroy(&t->wake);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return -rc;
	}
	*out = t;
	return 0;
}

static void event_drop(struct timer_event *ev)
{
	if (ev->drop)
		ev->drop(ev);
}

void timer_add(struct timer *t, struct timer_event *ev)
{
	bool stopped, taken = false;

	pthread_mutex_lock(&t->lock);
	stopped = t->stopped;
	if (!stopped && (t->count < t->room || heap_grow(t))) {
		ev->serial = t->serial++;
		heap_push(t, ev);
		taken = true;
		if (t->heap[0] == ev)
			pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	if (stopped)
		event_drop(ev);
	else if (!taken)
		ev->fire(ev);
}

void timer_stop(struct timer *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopped = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	while (t->count)
		event_drop(heap_pop(t));
}

void timer_free(struct timer *t)
{
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t->heap);
	free(t);
}

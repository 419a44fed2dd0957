/* SPDX-License-Identifier: Apache-2.0 */
#include "populator.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "pool.h"

/* After a refusal huge pages are asked for again when as many stretches have passed: asking costs, and the reason may
 * have gone. */
#define REST 32
/* How long an end waits for a fault that hangs, and a copy for a stretch, which takes one or two milliseconds. */
#define PATIENCE_NS FST3FS_NS_PER_S
#define A_WHILE_NS (20 * FST3FS_NS_PER_MS)

/* Memory to be made resident. */
struct stretch {
	struct fst3fs_task task;
	struct fst3fs_populator *populator; /* a reference */
	struct stretch *next;
	const void *owner;
	enum { QUEUED, BEGUN, OVER } state; /* over: made resident, or forgotten */
	uint64_t base, size;
	struct fst3fs_place place;
};

struct fst3fs_populator {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* a stretch has ended */
	struct fst3fs_pool *pool;
	struct stretch *stretches; /* queued and begun */
	unsigned refs;		   /* the engine's, and one for each stretch */
	int refusal;		   /* the last, and for how many stretches it still counts */
	unsigned rest;
	struct fst3fs_populated made;
};

/* ------------------------------------------------------------------ life */

/* Under the lock, which it gives back. */
static void unref(struct fst3fs_populator *p)
{
	bool last = --p->refs == 0;

	pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	pthread_cond_destroy(&p->moved);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct fst3fs_populator *fst3fs_populator_new(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct fst3fs_populator *p = NULL;

	if (fst3fs_pages_can_populate() == 0)
		p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	/* One thread zeroes about as fast as one copies (dev_host.c). One where there is but one processor, because
	 * huge pages save more than they cost. */
	p->pool = fst3fs_pool_new("fst3fs-populate", cpus >= 16 ? 8 : cpus >= 4 ? (int)(cpus / 2) : 1);
	if (!p->pool) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->moved, NULL);
	p->refs = 1;
	return p;
}

void fst3fs_populator_end(struct fst3fs_populator *p)
{
	if (!p)
		return;
	fst3fs_pool_leave(p->pool, 0);
	pthread_mutex_lock(&p->lock);
	unref(p);
}

/* ------------------------------------------------------------------ the work */

/* What the last refusal means for a stretch: whether to try at all, and for huge pages. Under the lock. */
static bool allowed(struct fst3fs_populator *p, bool *collapse)
{
	*collapse = fst3fs_pages_can_collapse() && p->rest == 0;
	if (p->rest == 0)
		return true;
	p->rest--;
	/* At the limit of a control group memory comes as it is needed and not before. */
	return p->refusal != -EBUSY;
}

/* Makes a stretch that is queued resident. Under the lock, without which it works. Modelled, with those who take
 * stretches, forget them and wait for them, in tests/models/populator.pml (REFUSED_STAYS_QUEUED, NO_TELL). */
static void make_resident(struct fst3fs_populator *p, struct stretch *s)
{
	struct fst3fs_populated made = {0};
	struct fst3fs_place before;
	bool collapse;
	int rc = 0;

	if (allowed(p, &collapse)) {
		s->state = BEGUN;
		pthread_mutex_unlock(&p->lock);
		fst3fs_place_take(&s->place, &before);
		rc = fst3fs_pages_populate((void *)(uintptr_t)s->base, (size_t)s->size, collapse, &made);
		fst3fs_place_take(&before, NULL);
		pthread_mutex_lock(&p->lock);
	}
	if (rc < 0 && rc != -EAGAIN) {
		p->refusal = rc;
		p->rest = REST;
	}
	p->made.bytes += made.bytes;
	p->made.huge += made.huge;
	s->state = OVER;
	pthread_cond_broadcast(&p->moved);
}

static void unlink_stretch(struct fst3fs_populator *p, const struct stretch *s)
{
	struct stretch **at = &p->stretches;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

static void stretch_run(struct fst3fs_task *task)
{
	struct stretch *s = (struct stretch *)task;
	struct fst3fs_populator *p = s->populator;

	pthread_mutex_lock(&p->lock);
	if (s->state == QUEUED)
		make_resident(p, s);
	/* By a thread that is to write there, and works with this (tests/models/populator.pml: FREED_UNDER_COPIER). */
	while (s->state == BEGUN)
		pthread_cond_wait(&p->moved, &p->lock);
	unlink_stretch(p, s);
	free(s);
	unref(p);
}

/* ------------------------------------------------------------------ for the engine */

void fst3fs_populator_add(struct fst3fs_populator *p, uint64_t base, uint64_t size, const void *owner,
			  const struct fst3fs_place *place)
{
	struct stretch *s = p ? malloc(sizeof(*s)) : NULL;

	if (!s)
		return;
	*s = (struct stretch){
		.task.run = stretch_run,
		.populator = p,
		.owner = owner,
		.base = base,
		.size = size,
		.place = *place,
	};
	pthread_mutex_lock(&p->lock);
	if (fst3fs_pool_run(p->pool, &s->task) == 0) {
		s->next = p->stretches;
		p->stretches = s;
		p->refs++;
	} else {
		free(s); /* no thread to be had */
	}
	pthread_mutex_unlock(&p->lock);
}

static bool has_begun(const struct fst3fs_populator *p, const void *owner)
{
	const struct stretch *s = p->stretches;

	while (s && !(s->owner == owner && s->state == BEGUN))
		s = s->next;
	return s != NULL;
}

/* tests/models/populator.pml: FORGETS_NOT_BEGUN, FORGETS_NOT_QUEUED */
void fst3fs_populator_forget(struct fst3fs_populator *p, const void *owner)
{
	struct timespec ts = fst3fs_timespec(fst3fs_now_ns() + PATIENCE_NS);
	int rc = 0;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	for (struct stretch *s = p->stretches; s; s = s->next)
		if (s->owner == owner && s->state == QUEUED)
			s->state = OVER;
	while (has_begun(p, owner) && rc == 0)
		rc = pthread_cond_clockwait(&p->moved, &p->lock, CLOCK_MONOTONIC, &ts);
	pthread_mutex_unlock(&p->lock);
}

/* A stretch with bytes of [base, base + size) that is not over. */
static struct stretch *find(const struct fst3fs_populator *p, uint64_t base, uint64_t size)
{
	struct stretch *s = p->stretches;

	while (s && (s->state == OVER || s->base >= base + size || base >= s->base + s->size))
		s = s->next;
	return s;
}

void fst3fs_populator_settle(struct fst3fs_populator *p, uint64_t base, uint64_t size)
{
	struct timespec ts;
	struct stretch *s;
	int rc = 0;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	ts = fst3fs_timespec(p->stretches ? fst3fs_now_ns() + A_WHILE_NS : 0);
	while (rc == 0 && (s = find(p, base, size)) != NULL) {
		if (s->state == QUEUED)
			make_resident(p, s);
		else
			rc = pthread_cond_clockwait(&p->moved, &p->lock, CLOCK_MONOTONIC, &ts);
	}
	pthread_mutex_unlock(&p->lock);
}

struct fst3fs_populated fst3fs_populator_made(struct fst3fs_populator *p)
{
	struct fst3fs_populated made = {0};

	if (!p)
		return made;
	pthread_mutex_lock(&p->lock);
	made = p->made;
	pthread_mutex_unlock(&p->lock);
	return made;
}

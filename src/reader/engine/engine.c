/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_i.h"

#include <errno.h>
#include <stdlib.h>

#include "clock.h"

static bool exclusive(const struct fst3fs_call *c)
{
	return c->in_turn || c->own_buffer;
}

/* ------------------------------------------------------------------ who is served */

/* Lets waiting calls in, in order; one that needs the whole buffer has it alone. */
static bool admit(struct fst3fs_engine *g)
{
	bool moved = false;

	while (g->waiting && (!g->active || (!exclusive(g->active) && !exclusive(g->waiting)))) {
		struct fst3fs_call *c = g->waiting, **end = &g->active;

		g->waiting = c->next;
		c->next = NULL;
		while (*end)
			end = &(*end)->next;
		*end = c;
		c->progress_ns = fst3fs_now_ns();
		moved = true;
	}
	return moved;
}

/* One turn of the loop: whether anything moved. */
static bool step(struct fst3fs_engine *g)
{
	struct fst3fs_error err;
	bool moved = admit(g);
	int rc;

	fst3fs_err_reset(&err);
	rc = fst3fs_collect(g, &err);
	if (rc < 0) {
		fst3fs_give_up(g, g->active, &err);
		return true;
	}
	moved |= rc > 0;
	for (struct fst3fs_call *c = g->active; c;) {
		struct fst3fs_call *next = c->next; /* opening or copying can end the call */

		moved |= fst3fs_open_ahead(g, c);
		if (!c->done)
			moved |= fst3fs_copy_turn(g, c);
		if (!c->done)
			fst3fs_look_ahead(g, c);
		c = next;
	}
	return fst3fs_fill_window(g) || moved;
}

/* ------------------------------------------------------------------ the loop */

/* Modelled in tests/models/session.pml. */
static bool ensure_session(struct fst3fs_engine *g, struct fst3fs_call *me)
{
	struct fst3fs_session *s = NULL;
	struct fst3fs_error err;
	int rc;

	if (g->session)
		return true;
	fst3fs_err_reset(&err);
	pthread_mutex_unlock(&g->lock);
	rc = fst3fs_engine_session_new(g, &s, &err);
	pthread_mutex_lock(&g->lock);
	if (rc < 0)
		fst3fs_call_fail(g, me, &err);
	/* None of the others would fare better, and each would wait as long. */
	while (rc < 0 && rc != -EINTR && g->waiting)
		fst3fs_call_fail(g, g->waiting, &err);
	g->session = s;
	return rc == 0;
}

/* What it is that a sleep waits for. */
static enum fst3fs_trace_kind reason(struct fst3fs_engine *g)
{
	const struct fst3fs_session *s = g->session;

	if (!s->free && s->copying > 0 && s->reading < s->tuner.limit)
		return FST3FS_TRACE_WAIT_SLOT;
	return s->reading == 0 && s->copying > 0 ? FST3FS_TRACE_WAIT_COPY : FST3FS_TRACE_WAIT_IO;
}

static void count_sleep(struct fst3fs_engine *g, enum fst3fs_trace_kind why, bool copies_alone, uint64_t since_ns)
{
	uint64_t now = fst3fs_now_ns(), slept = now - since_ns;

	*(copies_alone ? &g->count.copy_wait_ns : &g->count.io_wait_ns) += slept;
	if (why == FST3FS_TRACE_WAIT_SLOT)
		g->count.slot_wait_ns += slept;
	fst3fs_trace_span(g->trace, FST3FS_TRACE_WAITS, why, since_ns, now, 0, 0);
}

static void sleep_until(struct fst3fs_engine *g, uint64_t deadline_ns)
{
	struct fst3fs_session *s = g->session;
	uint64_t before = fst3fs_now_ns();
	bool copies_alone = s->reading == 0 && s->copying > 0;
	enum fst3fs_trace_kind why = reason(g);
	struct timespec nap = fst3fs_timespec(fst3fs_fill_plenty(g) ? fst3fs_tuner_nap_ns(&s->tuner) : 0);

	pthread_mutex_unlock(&g->lock);
	if (nap.tv_nsec > 0)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	fst3fs_waker_wait(&s->waker, deadline_ns);
	pthread_mutex_lock(&g->lock);
	count_sleep(g, why, copies_alone, before);
}

/* Runs the loop for every call until `me` is done. */
static void drive(struct fst3fs_engine *g, struct fst3fs_call *me)
{
	uint64_t glance = fst3fs_now_ns() + FST3FS_GLANCE_NS, deadline;

	while (!me->done && ensure_session(g, me)) {
		bool moved = step(g);

		if (me->done || !g->session)
			continue;
		if (fst3fs_now_ns() >= glance) {
			pthread_mutex_unlock(&g->lock);
			bool stop = fst3fs_engine_asks_to_stop(g);
			pthread_mutex_lock(&g->lock);
			glance = fst3fs_now_ns() + FST3FS_GLANCE_NS;
			if (stop)
				fst3fs_call_interrupt(g, me, -EINTR, "interrupted");
			fst3fs_check_grace(g);
			continue;
		}
		if (!moved && !fst3fs_check_bounds(g, &deadline))
			sleep_until(g, deadline < glance ? deadline : glance);
	}
}

/* Nobody drives: wakes who is to. Every call does so as it leaves, because it may be the one that was woken. Modelled,
 * with the loop around it, in tests/models/drive.pml (NO_HAND_OVER). */
static void hand_over(struct fst3fs_engine *g)
{
	struct fst3fs_call *heir = g->active ? g->active : g->waiting;

	if (heir)
		pthread_cond_signal(&heir->wake);
	else
		pthread_cond_broadcast(&g->idle);
}

/* The driver may be asleep, with nothing else to wake it (tests/models/drive.pml: NO_NUDGE_ON_ENTRY,
 * NO_NUDGE_ON_INTERRUPT). */
static void nudge(struct fst3fs_engine *g)
{
	if (g->driving && g->session)
		fst3fs_waker_post(&g->session->waker);
}

/* Sleeps until the call is done or nobody drives. */
static void ride(struct fst3fs_engine *g, struct fst3fs_call *me)
{
	if (!fst3fs_engine_doze(g, &me->wake) || me->done)
		return;
	fst3fs_call_interrupt(g, me, -EINTR, "interrupted");
	nudge(g); /* others may have waited for this call to end */
}

static void enter(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	struct fst3fs_call **end = &g->waiting;

	/* As long as calls that came before it take. */
	while (g->releasing > 0 && !c->done)
		if (fst3fs_engine_doze(g, &g->idle))
			fst3fs_call_interrupt(g, c, -EINTR, "interrupted");
	if (c->done)
		return;
	while (*end)
		end = &(*end)->next;
	*end = c;
	nudge(g); /* it may have room to spare */
}

/* The calls that this thread is in, innermost first: callbacks may read through other readers. */
struct inside {
	const struct fst3fs_engine *engine;
	const struct inside *outer;
};
static _Thread_local const struct inside *inside;

bool fst3fs_engine_inside(const struct fst3fs_engine *g)
{
	const struct inside *i = inside;

	while (i && i->engine != g)
		i = i->outer;
	return i != NULL;
}

int fst3fs_engine_run(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	const struct inside here = {.engine = g, .outer = inside};

	if (c->count == 0)
		return 0;
	inside = &here;
	pthread_mutex_lock(&g->lock);
	c->progress_ns = fst3fs_now_ns();
	enter(g, c);
	while (!c->done) {
		if (g->driving) {
			ride(g, c);
			continue;
		}
		g->driving = true;
		drive(g, c);
		g->driving = false;
	}
	if (!g->driving)
		hand_over(g);
	pthread_mutex_unlock(&g->lock);
	inside = here.outer;
	fst3fs_populator_forget(g->populator, c); /* tests/models/populator.pml */
	return c->err_index == SIZE_MAX ? 0 : c->err->code;
}

/* Somebody waits for the calls that run to end, which they do not as long as ranges are added to them
 * (tests/models/drive.pml: GROWS_DESPITE_RELEASE, GROWS_DESPITE_EXCLUSIVE). */
static bool must_end(const struct fst3fs_engine *g)
{
	return g->releasing > 0 || (g->waiting && exclusive(g->waiting));
}

int fst3fs_engine_append(struct fst3fs_engine *g, struct fst3fs_call *c, struct fst3fs_entry *e)
{
	struct fst3fs_entry **grown;

	if (c->done || c->interrupted_ns || c->stale || must_end(g))
		return 0;
	/* Room for a power of two: it has to grow when the count is one. */
	if ((c->count & (c->count - 1)) == 0) {
		grown = realloc(c->entries, 2 * (c->count ? c->count : 1) * sizeof(struct fst3fs_entry *));
		if (!grown)
			return -ENOMEM;
		c->entries = grown;
	}
	e->call = c;
	e->index = c->count;
	c->entries[c->count++] = e;
	nudge(g);
	return 1;
}

/* Also one that has ended: it may be about to be run again (tests/models/drive.pml: CANCELS_WHAT_RUNS). */
void fst3fs_engine_cancel(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	fst3fs_call_interrupt(g, c, -ECANCELED, "cancelled");
	nudge(g);
}

/* Modelled in tests/models/drive.pml (PAUSED_DESPITE_DRIVER: the driver may be asleep in the session although no call
 * is left). */
int fst3fs_engine_pause(struct fst3fs_engine *g, bool stale_alone, struct fst3fs_session **out)
{
	bool stop = false;

	pthread_mutex_lock(&g->lock);
	g->releasing++;
	while (!stop && (g->driving || g->active || g->waiting))
		stop = fst3fs_engine_doze(g, &g->idle);
	*out = NULL;
	if (!stop && (g->stale || !stale_alone)) {
		*out = g->session;
		g->session = NULL;
		g->stale = false;
	}
	pthread_mutex_unlock(&g->lock);
	if (stop)
		fst3fs_engine_resume(g);
	return stop ? -EINTR : 0;
}

void fst3fs_engine_resume(struct fst3fs_engine *g)
{
	pthread_mutex_lock(&g->lock);
	g->releasing--;
	pthread_cond_broadcast(&g->idle);
	pthread_mutex_unlock(&g->lock);
}

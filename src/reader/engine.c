/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <errno.h>
#include <inttypes.h>

#include "clock.h"

/* When a transport that was full with nothing in flight is tried again. */
#define RETRY_NS (50 * 1000ull)
/* How long the requests of an interrupted call may take to come back before the buffer is given up. */
#define GRACE_NS FST3FS_NS_PER_S
/* After how long without any completion the transport is asked whether its other side is still there. */
#define DOUBT_NS (500 * FST3FS_NS_PER_MS)

static bool exclusive(const struct fst3fs_call *c)
{
	return c->in_turn || c->own_buffer;
}

/* ------------------------------------------------------------------ pieces to the transport */

/* The largest request that serves `e` well. The last ones of a call become smaller, so that they end at about the same
 * time: a request has a ceiling of its own, and one that is left over alone does not fill the link. */
static uint64_t largest(const struct fst3fs_session *s, const struct fst3fs_entry *e)
{
	const struct fst3fs_call *c = e->call;
	uint64_t cap = c->cap && c->cap < s->layout.piece ? c->cap : s->layout.piece;
	uint64_t share = (e->end - e->next) / s->layout.window;

	if (e != &c->entries[c->count - 1])
		return cap;
	while (cap > share && cap / 2 >= e->file->blksize)
		cap /= 2;
	return cap;
}

/* The next piece of `e`: where it comes from and where it goes. */
static void shape(const struct fst3fs_session *s, const struct fst3fs_entry *e, struct fst3fs_slot *slot)
{
	uint64_t length = fst3fs_piece_cut(e->next, e->end, largest(s, e), e->file->blksize);

	slot->dst = e->request->dst ? e->request->dst + (e->next - (uint64_t)e->request->offset) : 0;
	slot->direct = e->region != NULL;
	slot->io = e->io;
	slot->req.file = &e->file->io;
	slot->req.offset = e->next;
	slot->req.region = e->region ? e->region : s->staging;
	slot->req.buf = e->region ? (void *)(uintptr_t)slot->dst : slot->staging;
	if (e->region && e->region->block) {
		uint64_t at = (uint64_t)((uint8_t *)slot->req.buf - e->region->base);
		uint64_t left = e->region->block - at % e->region->block;

		length = length < left ? length : left;
	}
	slot->req.length = length;
}

/* 1 a request is on its way, 0 the transport is full, or the range has failed. */
static int start_piece(struct fst3fs_reader *r, struct fst3fs_entry *e)
{
	struct fst3fs_session *s = r->session;
	struct fst3fs_slot *slot = fst3fs_slot_take(s);
	struct fst3fs_error err;
	int rc;

	shape(s, e, slot);
	rc = e->io->ops->start(e->io, &slot->req);
	if (rc < 0)
		fst3fs_slot_give(s, slot);
	if (rc == -EAGAIN)
		return 0;
	if (rc < 0) {
		fst3fs_err_reset(&err);
		fst3fs_err_set(&err, rc, "%s refused a request of %" PRIu64 " bytes at offset %" PRIu64 ": %s",
			       e->io->ops->name, slot->req.length, e->next, fst3fs_strerror(rc));
		fst3fs_entry_fail(r, e, &err);
		return 1;
	}
	slot->entry = e;
	slot->state = FST3FS_SLOT_READING;
	s->reading++;
	if (e->io == s->posix)
		s->reading_posix++;
	e->next += slot->req.length;
	e->busy++;
	e->call->busy++;
	r->count.requests++;
	return 1;
}

/* The active call whose turn it is to send a request; it goes to the end of the line. */
static struct fst3fs_entry *next_entry(struct fst3fs_reader *r)
{
	for (struct fst3fs_call **at = &r->active; *at; at = &(*at)->next) {
		struct fst3fs_call *c = *at;
		struct fst3fs_entry *e = c->interrupted_ns ? NULL : fst3fs_call_next(c);

		if (!e)
			continue;
		if (c->next) {
			*at = c->next;
			while (*at)
				at = &(*at)->next;
			c->next = NULL;
			*at = c;
		}
		return e;
	}
	return NULL;
}

static bool fill_window(struct fst3fs_reader *r)
{
	struct fst3fs_session *s = r->session;
	struct fst3fs_io *const ios[] = {s->main, s->posix};
	struct fst3fs_entry *e;
	bool moved = false;

	s->refused = false;
	while (s->reading < s->tuner.limit && s->free && (e = next_entry(r)) != NULL) {
		if (start_piece(r, e) == 0) {
			s->refused = true; /* full with slots free: normal, completions make room */
			break;
		}
		moved = true;
	}
	for (int i = 0; moved && i < 2; i++)
		if (ios[i] && ios[i]->ops->flush)
			ios[i]->ops->flush(ios[i]);
	return moved;
}

/* ------------------------------------------------------------------ who is served */

/* Lets waiting calls in, in order; one that needs the whole buffer has it alone. */
static bool admit(struct fst3fs_reader *r)
{
	bool moved = false;

	while (r->waiting && (!r->active || (!exclusive(r->active) && !exclusive(r->waiting)))) {
		struct fst3fs_call *c = r->waiting, **end = &r->active;

		r->waiting = c->next;
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
static bool step(struct fst3fs_reader *r)
{
	struct fst3fs_error err;
	bool moved = admit(r);
	int rc;

	fst3fs_err_reset(&err);
	rc = fst3fs_collect(r, &err);
	if (rc < 0) {
		fst3fs_give_up(r, r->active, &err);
		return true;
	}
	moved |= rc > 0;
	for (struct fst3fs_call *c = r->active; c;) {
		struct fst3fs_call *next = c->next; /* opening or copying can end the call */

		moved |= fst3fs_open_ahead(r, c);
		if (!c->done)
			moved |= fst3fs_copy_turn(r, c);
		c = next;
	}
	return fill_window(r) || moved;
}

/* ------------------------------------------------------------------ bounds */

static void time_out(struct fst3fs_reader *r, struct fst3fs_call *c)
{
	const struct fst3fs_entry *e = c->entries, *end = c->entries + c->count;
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	if (c->busy == 0) {
		fst3fs_err_set(&err, -ETIMEDOUT, "%s for %u ms",
			       c->opening > 0 ? "the file was being opened" : "the transport took no request",
			       r->timeout_ms);
		fst3fs_call_fail(r, c, &err);
		return;
	}
	while (e < end - 1 && e->busy == 0)
		e++;
	if (r->session->reading > 0)
		fst3fs_err_set(&err, -ETIMEDOUT,
			       "no completion for %u ms with %u requests in flight (%s): the daemon hangs or is gone; "
			       "the buffer was given up",
			       r->timeout_ms, c->busy, e->io->ops->name);
	else
		fst3fs_err_set_kind(&err, FST3FS_ERROR_DEVICE, -ETIMEDOUT, "copies to %s did not end within %u ms",
				    e->dev ? e->dev->name : "memory", r->timeout_ms);
	fst3fs_err_set_path(&err, e->request->path);
	fst3fs_give_up(r, c, &err);
}

static bool peer_gone(struct fst3fs_reader *r, struct fst3fs_call *c)
{
	struct fst3fs_io *io = r->session->main;
	struct fst3fs_error err;
	int rc = io && io->ops->probe ? io->ops->probe(io) : 0;

	if (rc == 0)
		return false;
	fst3fs_err_reset(&err);
	fst3fs_err_set(&err, rc, "the daemon of %s is gone (%s), %u requests were in flight; the buffer was given up",
		       r->mount_point, fst3fs_strerror(rc), c->busy);
	fst3fs_give_up(r, c, &err);
	return true;
}

/* Ends calls that have waited too long; whether the set of calls changed. Sets when to look again. */
static bool check_bounds(struct fst3fs_reader *r, uint64_t *look_again_ns)
{
	uint64_t now = fst3fs_now_ns(), bound = r->timeout_ms * FST3FS_NS_PER_MS;

	/* Full with nothing in flight: the daemon has answered everything and not yet moved the queue's tail. Nothing
	 * will be posted when it does. */
	*look_again_ns = now + (r->session->refused && r->session->reading == 0 ? RETRY_NS : FST3FS_GLANCE_NS);
	for (struct fst3fs_call *c = r->active; c; c = c->next) {
		uint64_t since = now - c->progress_ns;

		if (c->busy == 0 && c->opening == 0 && r->session->reading + r->session->copying > 0) {
			c->progress_ns = now; /* others hold the slots: their bound is the one that counts */
			continue;
		}
		if (since >= bound) {
			time_out(r, c);
			return true;
		}
		if (since >= DOUBT_NS && r->session->reading > r->session->reading_posix && peer_gone(r, c))
			return true;
		if (bound - since < *look_again_ns - now)
			*look_again_ns = now + bound - since;
	}
	return false;
}

/* The caller of `c` was interrupted: nothing more is requested for it, and it ends when its slots are free. */
static void interrupt(struct fst3fs_reader *r, struct fst3fs_call *c)
{
	struct fst3fs_error err;

	if (c->interrupted_ns)
		return;
	c->interrupted_ns = fst3fs_now_ns();
	fst3fs_err_reset(&err);
	fst3fs_err_set(&err, -EINTR, "interrupted");
	fst3fs_call_fail(r, c, &err);
}

/* Only the driver gives up: it is the one that could be asleep in the session. */
static void check_grace(struct fst3fs_reader *r)
{
	for (struct fst3fs_call *c = r->active; c; c = c->next) {
		if (c->interrupted_ns && fst3fs_now_ns() - c->interrupted_ns >= GRACE_NS) {
			fst3fs_give_up(r, c, c->err);
			return;
		}
	}
}

/* ------------------------------------------------------------------ the loop */

static bool ensure_session(struct fst3fs_reader *r, struct fst3fs_call *me)
{
	struct fst3fs_session *s = NULL;
	struct fst3fs_error err;
	int rc;

	if (r->session)
		return true;
	fst3fs_err_reset(&err);
	pthread_mutex_unlock(&r->lock);
	rc = fst3fs_reader_session_new(r, &s, &err);
	pthread_mutex_lock(&r->lock);
	if (rc < 0)
		fst3fs_call_fail(r, me, &err);
	/* None of the others would fare better, and each would wait as long. */
	while (rc < 0 && rc != -EINTR && r->waiting)
		fst3fs_call_fail(r, r->waiting, &err);
	r->session = s;
	return rc == 0;
}

/* Is the window full, with at least as much again to request? Then what lands can wait a moment. */
static bool plenty(struct fst3fs_reader *r)
{
	const struct fst3fs_session *s = r->session;
	const struct fst3fs_entry *e;

	if (s->reading < s->tuner.limit || s->copying > 0 || !r->active)
		return false;
	e = fst3fs_call_next(r->active);
	return e && (e < &e->call->entries[e->call->count - 1] || e->end - e->next > s->tuner.limit * s->layout.piece);
}

static void sleep_until(struct fst3fs_reader *r, uint64_t deadline_ns)
{
	struct fst3fs_session *s = r->session;
	uint64_t before = fst3fs_now_ns(), slept;
	bool copies_alone = s->reading == 0 && s->copying > 0;
	struct timespec nap = fst3fs_timespec(plenty(r) ? fst3fs_tuner_nap_ns(&s->tuner) : 0);

	pthread_mutex_unlock(&r->lock);
	if (nap.tv_nsec > 0)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	fst3fs_waker_wait(&s->waker, deadline_ns);
	pthread_mutex_lock(&r->lock);
	slept = fst3fs_now_ns() - before;
	*(copies_alone ? &r->count.copy_wait_ns : &r->count.io_wait_ns) += slept;
}

/* Runs the loop for every call until `me` is done. */
static void drive(struct fst3fs_reader *r, struct fst3fs_call *me)
{
	uint64_t glance = fst3fs_now_ns() + FST3FS_GLANCE_NS, deadline;

	while (!me->done && ensure_session(r, me)) {
		bool moved = step(r);

		if (me->done || !r->session)
			continue;
		if (fst3fs_now_ns() >= glance) {
			pthread_mutex_unlock(&r->lock);
			bool stop = fst3fs_reader_asks_to_stop(r);
			pthread_mutex_lock(&r->lock);
			glance = fst3fs_now_ns() + FST3FS_GLANCE_NS;
			if (stop)
				interrupt(r, me);
			check_grace(r);
			continue;
		}
		if (!moved && !check_bounds(r, &deadline))
			sleep_until(r, deadline < glance ? deadline : glance);
	}
}

/* Sleeps until `cond` is signalled; whether the caller was interrupted while it was not. */
static bool doze(struct fst3fs_reader *r, pthread_cond_t *cond)
{
	struct timespec ts = fst3fs_timespec(fst3fs_now_ns() + FST3FS_GLANCE_NS);
	bool stop;

	if (pthread_cond_clockwait(cond, &r->lock, CLOCK_MONOTONIC, &ts) != ETIMEDOUT)
		return false;
	pthread_mutex_unlock(&r->lock);
	stop = fst3fs_reader_asks_to_stop(r);
	pthread_mutex_lock(&r->lock);
	return stop;
}

/* Sleeps until the call is done or nobody drives. */
static void ride(struct fst3fs_reader *r, struct fst3fs_call *me)
{
	if (doze(r, &me->wake) && !me->done)
		interrupt(r, me);
}

/* Nobody drives: wakes who is to. Every call does so as it leaves, because it may be the one that was woken. */
static void hand_over(struct fst3fs_reader *r)
{
	struct fst3fs_call *heir = r->active ? r->active : r->waiting;

	if (heir)
		pthread_cond_signal(&heir->wake);
	else
		pthread_cond_broadcast(&r->idle);
}

static void enter(struct fst3fs_reader *r, struct fst3fs_call *c)
{
	struct fst3fs_call **end = &r->waiting;

	/* As long as calls that came before it take. */
	while (r->releasing > 0 && !c->done)
		if (doze(r, &r->idle))
			interrupt(r, c);
	if (c->done)
		return;
	while (*end)
		end = &(*end)->next;
	*end = c;
	if (r->driving && r->session)
		fst3fs_waker_post(&r->session->waker); /* the driver may be asleep with room to spare */
}

/* The calls that this thread is in, innermost first: callbacks may read through other readers. */
struct inside {
	const struct fst3fs_reader *reader;
	const struct inside *outer;
};
static _Thread_local const struct inside *inside;

bool fst3fs_engine_inside(const struct fst3fs_reader *r)
{
	const struct inside *i = inside;

	while (i && i->reader != r)
		i = i->outer;
	return i != NULL;
}

int fst3fs_engine_run(struct fst3fs_reader *r, struct fst3fs_call *c, struct fst3fs_error *err)
{
	const struct inside here = {.reader = r, .outer = inside};

	if (c->count == 0)
		return 0;
	c->err = err;
	c->err_index = SIZE_MAX;
	c->progress_ns = fst3fs_now_ns();
	fst3fs_err_reset(c->err);
	pthread_cond_init(&c->wake, NULL);
	inside = &here;
	pthread_mutex_lock(&r->lock);
	enter(r, c);
	while (!c->done) {
		if (r->driving) {
			ride(r, c);
			continue;
		}
		r->driving = true;
		drive(r, c);
		r->driving = false;
	}
	if (!r->driving)
		hand_over(r);
	pthread_mutex_unlock(&r->lock);
	inside = here.outer;
	pthread_cond_destroy(&c->wake);
	return c->err_index == SIZE_MAX ? 0 : c->err->code;
}

int fst3fs_engine_pause(struct fst3fs_reader *r, bool stale_alone, struct fst3fs_session **out)
{
	bool stop = false;

	pthread_mutex_lock(&r->lock);
	r->releasing++;
	while (!stop && (r->driving || r->active || r->waiting))
		stop = doze(r, &r->idle);
	*out = NULL;
	if (!stop && (r->stale || !stale_alone)) {
		*out = r->session;
		r->session = NULL;
		r->stale = false;
	}
	pthread_mutex_unlock(&r->lock);
	if (stop)
		fst3fs_engine_resume(r);
	return stop ? -EINTR : 0;
}

void fst3fs_engine_resume(struct fst3fs_reader *r)
{
	pthread_mutex_lock(&r->lock);
	r->releasing--;
	pthread_cond_broadcast(&r->idle);
	pthread_mutex_unlock(&r->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "transfer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "clock.h"

enum {
	/* What the 3FS daemon puts into one storage request. */
	FETCH_PIECES = 128,
	FETCH_BYTES = 4 << 20,
	/* So many storage requests back one for the same server is looked for: a client decides how many there are. */
	FETCHES_BACK = 256,
	/* Of all transfers: each takes some two hundred bytes, and a client decides how long its requests are. */
	PIECES_MAX = 1 << 20,
	/* A transfer of so few is never refused, whatever the others are: only so many jobs run at once. */
	PIECES_FEW = 4096,
};

/* ---------------------------------------------------------------- cutting */

int64_t transfer_pieces(const struct storage *s, uint64_t off, uint64_t len)
{
	if (len == 0)
		return 1;
	return (int64_t)((off + len - 1) / s->chunk_bytes - off / s->chunk_bytes + 1);
}

/* Whether there may be so many more. */
static bool take_share(struct transfer *x, int64_t pieces)
{
	int64_t taken = atomic_load(&x->storage->pieces);

	do
		if (pieces > PIECES_FEW && pieces > PIECES_MAX - taken)
			return false;
	while (!atomic_compare_exchange_weak(&x->storage->pieces, &taken, taken + pieces));
	x->reserved = pieces;
	return true;
}

int transfer_reserve(struct transfer *x, int64_t pieces)
{
	if (!take_share(x, pieces))
		return -ENOBUFS;
	x->pieces = calloc((size_t)pieces + 1, sizeof(*x->pieces));
	x->fetches = calloc((size_t)pieces + 1, sizeof(*x->fetches));
	return x->pieces && x->fetches ? 0 : -ENOMEM;
}

void transfer_release(struct transfer *x)
{
	free(x->pieces);
	free(x->fetches);
	x->pieces = NULL;
	x->fetches = NULL;
	if (x->reserved)
		atomic_fetch_sub(&x->storage->pieces, x->reserved);
	x->reserved = 0;
}

/* One with room, for this server. */
static struct fetch *find_fetch_of(struct transfer *x, int server, uint64_t bytes)
{
	for (int i = x->fetch_count - 1; i >= 0 && i >= x->fetch_count - FETCHES_BACK; i--) {
		struct fetch *f = &x->fetches[i];

		if (f->permit.server == server)
			return f->count < FETCH_PIECES && f->bytes + bytes <= FETCH_BYTES ? f : NULL;
	}
	return NULL;
}

/* Without limits servers need not be told apart: all that comes at the same time is one, and with jitter each piece. */
static struct fetch *find_fetch(struct transfer *x, int server, uint64_t bytes)
{
	if (admission_limits(&x->storage->admission))
		return find_fetch_of(x, server, bytes);
	return x->fetch_count && !x->storage->link.config.jitter_ns ? &x->fetches[x->fetch_count - 1] : NULL;
}

static void granted(struct permit *permit, uint64_t at_ns);
static void refused(struct permit *permit);

static void add_to_fetch(struct transfer *x, struct piece *p, int server)
{
	struct fetch *f = find_fetch(x, server, p->len);

	if (!f) {
		f = &x->fetches[x->fetch_count++];
		*f = (struct fetch){
			.permit = {.server = server, .granted = granted, .drop = refused}, .transfer = x, .first = p};
	} else {
		f->last->next = p;
	}
	f->last = p;
	f->bytes += p->len;
	f->left = ++f->count;
	p->fetch = f;
}

int transfer_cut(struct transfer *x, uint64_t ino, uint64_t off, uint64_t len, uint64_t at, int request)
{
	uint64_t chunk = x->storage->chunk_bytes;
	int before = x->count;

	do {
		uint64_t in_chunk = chunk - off % chunk, n = len < in_chunk ? len : in_chunk;
		struct piece *p = &x->pieces[x->count++];

		*p = (struct piece){.transfer = x, .file_off = off, .at = at, .len = (uint32_t)n, .request = request};
		add_to_fetch(x, p, storage_server(x->storage, ino, off));
		off += n;
		at += n;
		len -= n;
	} while (len);
	return x->count - before;
}

/* ---------------------------------------------------------------- in time */

static void arrive(struct transfer *x, struct piece *p)
{
	if (x->arrive && p->len)
		x->arrive(x, p);
}

static void passed(struct timer_event *ev);
static void dropped_passing(struct timer_event *ev);

/* With the storage's lock held: whose turn it is, NULL = nobody is ready. */
static struct piece *next_to_pass(struct transfer *x)
{
	x->passing = x->ready;
	if (x->passing)
		x->ready = x->passing->next;
	return x->passing;
}

/* Its bytes leave at `at_ns`. The last use of `x` on this thread is the timer's. */
static void pass(struct transfer *x, struct piece *p, uint64_t at_ns)
{
	uint64_t passed_ns;

	/* A piece can come late, when asking for it took longer than the latency: nominally the pipe was not idle. */
	if (at_ns < x->event.at_ns)
		at_ns = x->event.at_ns;
	passed_ns = link_send(&x->storage->link, at_ns, p->len);
	arrive(x, p);
	x->event = (struct timer_event){.at_ns = passed_ns, .fire = passed, .drop = dropped_passing};
	timer_add(x->storage->timer, &x->event);
}

static void passed(struct timer_event *ev)
{
	struct transfer *x = (struct transfer *)ev;
	struct piece *next;
	struct fetch *f;
	uint64_t at_ns = ev->at_ns;
	bool fetched, done;

	pthread_mutex_lock(&x->storage->lock);
	f = x->passing->fetch;
	fetched = --f->left == 0;
	done = --x->left == 0;
	next = next_to_pass(x);
	pthread_mutex_unlock(&x->storage->lock);
	if (fetched)
		admission_give_back(&x->storage->admission, &f->permit, at_ns);
	if (done)
		x->done(x);
	else if (next)
		pass(x, next, at_ns);
}

static struct fetch *fetch_of_event(struct timer_event *ev)
{
	return (struct fetch *)((char *)ev - offsetof(struct fetch, event));
}

/* The server's answer comes: its pieces line up behind those that came before. */
static void answered(struct timer_event *ev)
{
	struct fetch *f = fetch_of_event(ev);
	struct transfer *x = f->transfer;
	uint64_t at_ns = ev->at_ns;
	struct piece *next = NULL;

	pthread_mutex_lock(&x->storage->lock);
	if (x->ready)
		x->last->next = f->first;
	else
		x->ready = f->first;
	x->last = f->last;
	if (!x->passing)
		next = next_to_pass(x);
	pthread_mutex_unlock(&x->storage->lock);
	if (next)
		pass(x, next, at_ns);
}

static void dropped(struct transfer *x, int pieces)
{
	bool all;

	pthread_mutex_lock(&x->storage->lock);
	x->left -= pieces;
	all = x->left == 0;
	pthread_mutex_unlock(&x->storage->lock);
	if (all && x->drop)
		x->drop(x);
}

static void dropped_answer(struct timer_event *ev)
{
	struct fetch *f = fetch_of_event(ev);

	dropped(f->transfer, f->count);
}

/* With it, all that waited for the pipe. */
static void dropped_passing(struct timer_event *ev)
{
	struct transfer *x = (struct transfer *)ev;
	int pieces = 1;

	for (const struct piece *p = x->ready; p; p = p->next)
		pieces++;
	dropped(x, pieces);
}

static void granted(struct permit *permit, uint64_t at_ns)
{
	struct fetch *f = (struct fetch *)permit;
	struct storage *s = f->transfer->storage;

	f->event =
		(struct timer_event){.at_ns = link_ready_ns(&s->link, at_ns), .fire = answered, .drop = dropped_answer};
	timer_add(s->timer, &f->event);
}

static void refused(struct permit *permit)
{
	struct fetch *f = (struct fetch *)permit;

	dropped(f->transfer, f->count);
}

static void start_at_once(struct transfer *x)
{
	for (int i = 0; i < x->count; i++)
		arrive(x, &x->pieces[i]);
	x->done(x);
}

void transfer_start(struct transfer *x)
{
	struct fetch *fetches = x->fetches;
	struct storage *s = x->storage;
	uint64_t now = fst3fs_now_ns();
	int n = x->fetch_count;

	if (!link_simulates(&s->link) || n == 0) {
		start_at_once(x);
		return;
	}
	x->left = x->count;
	/* `x` may be gone as soon as the last one has asked. */
	for (int i = 0; i < n; i++)
		admission_ask(&s->admission, &fetches[i].permit, now);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "transfer.h"

#include <stdlib.h>

#include "clock.h"

int64_t transfer_pieces(uint64_t off, uint64_t len, uint64_t chunk)
{
	if (len == 0)
		return 1;
	return (int64_t)((off + len - 1) / chunk - off / chunk + 1);
}

int transfer_cut(struct transfer *x, uint64_t off, uint64_t len, uint64_t chunk, uint64_t at, int request)
{
	int before = x->count;

	do {
		uint64_t in_chunk = chunk - off % chunk, n = len < in_chunk ? len : in_chunk;

		x->pieces[x->count++] = (struct piece){
			.transfer = x, .file_off = off, .at = at, .len = (uint32_t)n, .request = request};
		off += n;
		at += n;
		len -= n;
	} while (len);
	return x->count - before;
}

static int by_ready(const void *a, const void *b)
{
	const struct piece *p = a, *q = b;

	return (p->ready_ns > q->ready_ns) - (p->ready_ns < q->ready_ns);
}

static int by_place(const void *a, const void *b)
{
	const struct piece *p = a, *q = b;

	if (p->request != q->request)
		return p->request < q->request ? -1 : 1;
	return (p->file_off > q->file_off) - (p->file_off < q->file_off);
}

static void arrive(struct transfer *x, struct piece *p)
{
	if (x->arrive && p->len)
		x->arrive(x, p);
}

static void fire_done(struct timer_event *ev)
{
	struct transfer *x = (struct transfer *)ev;

	x->done(x);
}

/* One piece leaves at the event's time; the next one follows when the job's pipe is free and it is ready. */
static void fire_piece(struct timer_event *ev)
{
	struct transfer *x = (struct transfer *)ev;
	struct piece *p = &x->pieces[x->next++];
	uint64_t passed_ns = link_send(&x->storage->link, ev->at_ns, p->len);

	arrive(x, p);
	ev->at_ns = passed_ns;
	if (x->next == x->count)
		ev->fire = fire_done;
	else if (p[1].ready_ns > passed_ns)
		ev->at_ns = p[1].ready_ns;
	timer_add(x->storage->timer, ev);
}

static void start_at_once(struct transfer *x)
{
	for (int i = 0; i < x->count; i++)
		arrive(x, &x->pieces[i]);
	x->done(x);
}

void transfer_start(struct transfer *x)
{
	uint64_t now = fst3fs_now_ns();

	if (!link_simulates(&x->storage->link) || x->count == 0) {
		start_at_once(x);
		return;
	}
	for (int i = 0; i < x->count; i++)
		x->pieces[i].ready_ns = link_ready_ns(&x->storage->link, now);
	if (x->storage->link.config.jitter_ns)
		qsort(x->pieces, (size_t)x->count, sizeof(*x->pieces), by_ready);
	x->event.at_ns = x->pieces[0].ready_ns;
	x->event.fire = fire_piece;
	timer_add(x->storage->timer, &x->event);
}

void transfer_sort(struct transfer *x)
{
	if (x->storage->link.config.jitter_ns)
		qsort(x->pieces, (size_t)x->count, sizeof(*x->pieces), by_place);
}

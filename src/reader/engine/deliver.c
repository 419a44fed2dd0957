/* SPDX-License-Identifier: Apache-2.0 */
/* From landed to done: what a transport has read goes to its device, and what a device has copied is delivered. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "clock.h"
#include "engine_i.h"

enum { BATCH = 64 };

static struct fst3fs_slot *slot_of_copy(struct fst3fs_dev_copy *copy)
{
	return (struct fst3fs_slot *)((char *)copy - offsetof(struct fst3fs_slot, copy));
}

/* What a piece has of a segment: [begin, end) of the file. False when it lies wholly behind the piece. */
static bool overlap(const struct fst3fs_slot *slot, const struct fst3fs_segment *seg, uint64_t *begin, uint64_t *end)
{
	const uint64_t piece_end = slot->req.offset + slot->req.length, seg_end = seg->offset + seg->length;

	*begin = seg->offset > slot->req.offset ? seg->offset : slot->req.offset;
	*end = seg_end < piece_end ? seg_end : piece_end;
	return seg->offset < piece_end;
}

/* Counts a delivered piece, and tells who waits for what is whole with it (tests/models/stream.pml: COUNTED_AGAIN). */
static void count_delivered(struct fst3fs_engine *g, const struct fst3fs_slot *slot)
{
	struct fst3fs_entry *e = slot->entry;
	uint64_t begin, end, bytes = 0;
	bool whole = false;

	for (size_t i = slot->first; i < e->nsegments && overlap(slot, &e->segments[i], &begin, &end); i++) {
		struct fst3fs_segment *seg = &e->segments[i];

		if (begin >= end)
			continue;
		bytes += end - begin;
		/* What was whole before the call was run again counts once. */
		if (seg->target && seg->delivered < seg->length) {
			seg->delivered += end - begin;
			seg->target->left -= end - begin;
			whole |= seg->target->left == 0;
		}
	}
	e->delivered += slot->req.length;
	g->count.bytes += bytes;
	if (slot->io == g->session->posix)
		g->count.bytes_posix += bytes;
	if (slot->direct)
		g->count.bytes_direct += bytes;
	if (whole)
		pthread_cond_broadcast(e->call->moved);
}

/* The row of a slot: what became of its piece, and when. */
static void trace_slot(struct fst3fs_engine *g, const struct fst3fs_slot *slot)
{
	unsigned row = FST3FS_TRACE_SLOTS + (unsigned)(slot - g->session->slots);
	uint64_t copying = slot->copying_ns ? slot->copying_ns : slot->landed_ns, now = fst3fs_now_ns();

	fst3fs_trace_span(g->trace, row, FST3FS_TRACE_READING, slot->started_ns, slot->landed_ns, slot->req.offset,
			  slot->req.length);
	if (copying > slot->landed_ns)
		fst3fs_trace_span(g->trace, row, FST3FS_TRACE_LANDED, slot->landed_ns, copying, slot->req.offset,
				  slot->req.length);
	if (slot->copying_ns)
		fst3fs_trace_span(g->trace, row, FST3FS_TRACE_COPYING, copying, now, slot->req.offset,
				  slot->req.length);
}

/* The slot's piece is out of its hands, delivered or not. */
static void release_slot(struct fst3fs_engine *g, struct fst3fs_slot *slot, bool delivered)
{
	struct fst3fs_entry *e = slot->entry;

	if (delivered && e->status == 0)
		count_delivered(g, slot);
	if (g->trace)
		trace_slot(g, slot);
	e->busy--;
	e->call->busy--;
	e->call->progress_ns = fst3fs_now_ns();
	fst3fs_slot_give(g->session, slot);
	fst3fs_entry_settle(g, e);
}

static void fail_slot(struct fst3fs_engine *g, struct fst3fs_slot *slot, struct fst3fs_error *why)
{
	why->offset = (int64_t)slot->req.offset;
	fst3fs_entry_fail(g, slot->entry, why); /* the slot still holds the range, so it does not settle yet */
	release_slot(g, slot, false);
}

static void describe_failure(const struct fst3fs_slot *slot, struct fst3fs_error *err)
{
	const struct fst3fs_io_req *req = &slot->req;
	const struct fst3fs_io_ops *ops = slot->io->ops;
	int code = (int)req->result;
	const char *hint = ops->explain && req->result < 0 ? ops->explain(code) : NULL;

	fst3fs_err_reset(err);
	if (req->result < 0)
		fst3fs_err_set(err, code, "reading %" PRIu64 " bytes at offset %" PRIu64 " (%s): %s%s%s", req->length,
			       req->offset, ops->name, fst3fs_strerror(code), hint ? ": " : "", hint ? hint : "");
	else if ((uint64_t)req->result < req->length)
		fst3fs_err_set(err, -EIO,
			       "short read at offset %" PRIu64 " (%s): %" PRId64 " of %" PRIu64
			       " bytes, although the file goes on (a hole, a lost chunk, or a file being truncated)",
			       req->offset, ops->name, req->result, req->length);
	else
		fst3fs_err_set(err, -EPROTO, "at offset %" PRIu64 " (%s): %" PRId64 " bytes for a request of %" PRIu64,
			       req->offset, ops->name, req->result, req->length);
}

/* One part more for the copy of a slot. Neighbours in the file that are neighbours in memory, too, are one. */
static bool add_part(struct fst3fs_slot *slot, struct fst3fs_dev_part part)
{
	struct fst3fs_dev_part *last = slot->copy.nparts ? &slot->parts[slot->copy.nparts - 1] : NULL;

	if (last && last->dst + last->length == part.dst && (const char *)last->src + last->length == part.src) {
		last->length += part.length;
		return true;
	}
	if (slot->copy.nparts == slot->room) {
		size_t room = slot->room ? 2 * slot->room : 4;
		struct fst3fs_dev_part *grown = realloc(slot->parts, room * sizeof(*grown));

		if (!grown)
			return false;
		slot->parts = grown;
		slot->room = room;
	}
	slot->parts[slot->copy.nparts++] = part;
	return true;
}

/* The parts of a slot's copy: from where the piece has landed to where each of its segments wants it. */
static bool make_parts(struct fst3fs_slot *slot)
{
	const struct fst3fs_entry *e = slot->entry;
	const uint8_t *buf = slot->req.buf;
	uint64_t begin, end;
	bool room = true;

	slot->copy = (struct fst3fs_dev_copy){.dev = e->dev};
	for (size_t i = slot->first; room && i < e->nsegments && overlap(slot, &e->segments[i], &begin, &end); i++) {
		const struct fst3fs_segment *seg = &e->segments[i];

		if (seg->dst && begin < end)
			room = add_part(slot, (struct fst3fs_dev_part){.dst = seg->dst + (begin - seg->offset),
								       .src = buf + (begin - slot->req.offset),
								       .length = (size_t)(end - begin)});
	}
	slot->copy.parts = slot->parts;
	return room;
}

static void start_copy(struct fst3fs_engine *g, struct fst3fs_slot *slot, bool wait)
{
	struct fst3fs_dev *dev = slot->entry->dev;
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	if (!make_parts(slot)) {
		fst3fs_err_set(&err, -ENOMEM, "no memory for the list of a request's destinations");
		fail_slot(g, slot, &err);
		return;
	}
	if (slot->copy.nparts == 0) { /* the piece lies between two destinations */
		release_slot(g, slot, true);
		return;
	}
	slot->state = FST3FS_SLOT_COPYING;
	slot->copying_ns = g->trace ? fst3fs_now_ns() : 0;
	g->session->copying++;
	if (dev->ops->copy(dev, &slot->copy, wait, &err) < 0) {
		g->session->copying--;
		fail_slot(g, slot, &err);
	}
}

static void land(struct fst3fs_engine *g, struct fst3fs_slot *slot)
{
	struct fst3fs_entry *e = slot->entry;
	struct fst3fs_error err;

	g->session->reading--;
	if (slot->io == g->session->posix)
		g->session->reading_posix--;
	slot->state = FST3FS_SLOT_LANDED;
	fst3fs_count_landed(&g->count, slot);
	slot->copying_ns = 0;
	e->call->progress_ns = slot->landed_ns;
	if (slot->req.result < 0 || (uint64_t)slot->req.result != slot->req.length) {
		describe_failure(slot, &err);
		fail_slot(g, slot, &err);
	} else if (e->status < 0 || !e->dev || slot->direct) {
		release_slot(g, slot, true);
	} else if (e->call->in_turn) {
		slot->next = e->call->landed;
		e->call->landed = slot;
	} else {
		start_copy(g, slot, false);
	}
}

static int lost(const struct fst3fs_io *io, int code, struct fst3fs_error *err)
{
	const char *why = io->ops->explain ? io->ops->explain(code) : NULL;

	if (why)
		return fst3fs_err_set(err, code, "%s: %s", io->ops->name, why);
	return fst3fs_err_set(err, code, "%s: the other side of the ring wrote nonsense", io->ops->name);
}

static int collect_io(struct fst3fs_engine *g, struct fst3fs_io *io, struct fst3fs_error *err)
{
	struct fst3fs_io_req *done[BATCH];
	uint64_t bytes = 0;
	int n, landed = 0;

	if (!io)
		return 0;
	do {
		n = io->ops->reap(io, done, BATCH);
		if (n < 0)
			return lost(io, n, err);
		for (int i = 0; i < n; i++) {
			bytes += done[i]->length;
			land(g, (struct fst3fs_slot *)done[i]);
		}
		landed += n;
	} while (n == BATCH);
	if (landed)
		fst3fs_tuner_landed(&g->session->tuner, (uint32_t)landed, bytes, fst3fs_now_ns());
	if (g->session->reading == 0 && g->session->copying == 0)
		fst3fs_tuner_idle(&g->session->tuner);
	return landed > 0;
}

static int collect_dev(struct fst3fs_engine *g, struct fst3fs_dev *dev)
{
	struct fst3fs_dev_copy *done[BATCH];
	struct fst3fs_error err;
	int n, moved = 0;

	do {
		fst3fs_err_reset(&err);
		n = dev->ops->reap(dev, done, BATCH, &err);
		for (int i = 0; i < n; i++) {
			struct fst3fs_slot *slot = slot_of_copy(done[i]);

			g->session->copying--;
			if (done[i]->status < 0) {
				fst3fs_err_set(&err, done[i]->status, "copy to %s failed", dev->name);
				fail_slot(g, slot, &err);
			} else {
				release_slot(g, slot, true);
			}
		}
		moved |= n > 0;
	} while (n == BATCH);
	return moved;
}

bool fst3fs_collect_copies(struct fst3fs_engine *g)
{
	struct fst3fs_session *s = g->session;
	int moved = 0;

	for (unsigned i = 0; s->copying > 0 && i < s->ndevs; i++)
		moved |= collect_dev(g, s->devs[i]);
	return moved;
}

/* Modelled in tests/models/drive.pml and tests/models/session.pml. The ring may turn out to be broken when nothing is
 * in flight any more and no call is left (GIVES_UP_WITH_A_CALL). */
int fst3fs_collect(struct fst3fs_engine *g, struct fst3fs_error *err)
{
	struct fst3fs_session *s = g->session;
	int moved = fst3fs_collect_copies(g);

	if (s->reading > 0) {
		struct fst3fs_io *const ios[] = {s->main, s->posix};

		for (int i = 0; i < 2; i++) {
			int rc = collect_io(g, ios[i], err);

			if (rc < 0)
				return rc;
			moved |= rc;
		}
	}
	return moved;
}

bool fst3fs_copy_turn(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	struct fst3fs_slot *landed = c->landed;

	/* Alone in the reader: what is being read is this call's. */
	if (!landed || g->session->reading > 0)
		return false;
	c->landed = NULL;
	while (landed) {
		struct fst3fs_slot *next = landed->next;

		if (landed->entry->status < 0)
			release_slot(g, landed, false);
		else
			start_copy(g, landed, true);
		landed = next;
	}
	return true;
}

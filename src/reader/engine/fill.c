/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the transport: what a range is cut to, whose turn it is, and as many at a time as the window holds. */
#include <errno.h>
#include <inttypes.h>

#include "engine_i.h"

/* The largest request that serves `e` well. The last ones of a call become smaller, so that they end at about the same
 * time: a request has a ceiling of its own, and one that is left over alone does not fill the link. */
static uint64_t largest(const struct fst3fs_session *s, const struct fst3fs_entry *e)
{
	const struct fst3fs_call *c = e->call;
	uint64_t cap = c->cap && c->cap < s->layout.piece ? c->cap : s->layout.piece;
	uint64_t share = (e->end - e->next) / s->layout.window;

	if (e->index != c->count - 1 || c->open)
		return cap;
	while (cap > share && cap / 2 >= e->file->blksize)
		cap /= 2;
	return cap;
}

/* The next piece of `e`: where it comes from and what it is read into. */
static void shape(const struct fst3fs_session *s, struct fst3fs_entry *e, struct fst3fs_slot *slot)
{
	uint64_t length = fst3fs_piece_cut(e->next, e->end, largest(s, e), e->file->blksize);

	while (e->segment < e->nsegments - 1 && e->segments[e->segment].reach <= e->next)
		e->segment++;
	slot->first = e->segment;
	slot->direct = e->region != NULL;
	slot->io = e->io;
	slot->req.file = &e->file->io;
	slot->req.offset = e->next;
	slot->req.region = e->region ? e->region : s->staging;
	slot->req.buf = e->region ? (void *)(uintptr_t)(e->segments->dst + (e->next - e->offset)) : slot->staging;
	if (e->region && e->region->block) {
		uint64_t at = (uint64_t)((uint8_t *)slot->req.buf - e->region->base);
		uint64_t left = e->region->block - at % e->region->block;

		length = length < left ? length : left;
	}
	slot->req.length = length;
}

/* 1 a request is on its way, 0 the transport is full, or the range has failed. */
static int start_piece(struct fst3fs_engine *g, struct fst3fs_entry *e)
{
	struct fst3fs_session *s = g->session;
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
		fst3fs_entry_fail(g, e, &err);
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
	fst3fs_count_started(&g->count, slot);
	return 1;
}

/* The active call whose turn it is to send a request; it goes to the end of the line. */
static struct fst3fs_entry *next_entry(struct fst3fs_engine *g)
{
	for (struct fst3fs_call **at = &g->active; *at; at = &(*at)->next) {
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

/* Modelled in tests/models/drive.pml and tests/models/session.pml. */
bool fst3fs_fill_window(struct fst3fs_engine *g)
{
	struct fst3fs_session *s = g->session;
	struct fst3fs_io *const ios[] = {s->main, s->posix};
	struct fst3fs_entry *e;
	bool moved = false;

	s->refused = false;
	while (s->reading < s->tuner.limit && s->free && (e = next_entry(g)) != NULL) {
		if (start_piece(g, e) == 0) {
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

bool fst3fs_fill_plenty(struct fst3fs_engine *g)
{
	const struct fst3fs_session *s = g->session;
	const struct fst3fs_entry *e;

	if (s->reading < s->tuner.limit || s->copying > 0 || !g->active)
		return false;
	e = fst3fs_call_next(g->active);
	return e && (e->index < e->call->count - 1 || e->end - e->next > s->tuner.limit * s->layout.piece);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host memory that bytes are on their way to, or soon will be, goes to the populator: in the order of the requests, a
 * bounded distance ahead of them, and in stretches that take whole huge pages.
 */
#include "engine_i.h"

/* How far beyond the window: several times what a piece takes to be made resident. More would only be memory that is
 * taken before its bytes can come. */
#define DISTANCE (32ull << 20)
/* To wake a thread for less costs more than the faults. */
#define WORTH_IT (256ull << 10)

/* Hands over what is whole of the run of addresses that the call has come to, all of it when the run has ended. */
static void hand_over(struct fst3fs_engine *g, struct fst3fs_call *c, bool ended)
{
	while (c->run_end - c->run_begin >= FST3FS_STRETCH || (ended && c->run_begin < c->run_end)) {
		uint64_t end = c->run_end;

		if (end - c->run_begin >= FST3FS_STRETCH)
			end = (c->run_begin + FST3FS_STRETCH) / FST3FS_HUGE_PAGE * FST3FS_HUGE_PAGE;
		if (end - c->run_begin >= WORTH_IT)
			fst3fs_populator_add(g->populator, c->run_begin, end - c->run_begin, c, &c->place);
		c->run_begin = end;
	}
}

/* The next addresses that bytes go to. Neighbours are one run, so that small ranges make large stretches. */
static void come_to(struct fst3fs_engine *g, struct fst3fs_call *c, uint64_t begin, uint64_t length)
{
	if (begin != c->run_end) {
		hand_over(g, c, true);
		c->run_begin = begin;
	}
	c->run_end = begin + length;
	hand_over(g, c, false);
}

/* The destinations of the file's bytes up to `end`. */
static void advance(struct fst3fs_engine *g, struct fst3fs_entry *e, uint64_t end)
{
	while (e->looked_segment < e->nsegments && e->segments[e->looked_segment].reach <= e->looked)
		e->looked_segment++;
	for (size_t i = e->looked_segment; i < e->nsegments && e->segments[i].offset < end; i++) {
		const struct fst3fs_segment *seg = &e->segments[i];
		uint64_t from = seg->offset > e->looked ? seg->offset : e->looked;
		uint64_t to = seg->offset + seg->length < end ? seg->offset + seg->length : end;

		if (seg->dst && from < to)
			come_to(g, e->call, seg->dst + (from - seg->offset), to - from);
	}
	e->looked = end;
}

/* Does the range go to memory that this process has mapped? */
static bool goes_to_host(const struct fst3fs_entry *e)
{
	return e->state == FST3FS_ENTRY_READY && e->status == 0 &&
	       (e->region || (e->dev && e->dev->ops == &fst3fs_dev_host));
}

/* While the call is served: it forgets what was handed over for it when it has ended (tests/models/populator.pml). */
void fst3fs_look_ahead(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	const struct fst3fs_session *s = g->session;
	/* What the window still takes, and the distance. */
	uint64_t left = DISTANCE + (s->tuner.limit > s->reading ? (s->tuner.limit - s->reading) * s->layout.piece : 0);

	if (!g->populator || c->own_buffer)
		return;
	for (size_t i = c->cursor; i < c->count && i < c->cursor + FST3FS_CALL_AHEAD && left > 0; i++) {
		struct fst3fs_entry *e = c->entries[i];
		uint64_t n;

		if (!goes_to_host(e))
			continue;
		n = e->end - e->next < left ? e->end - e->next : left;
		if (e->next + n > e->looked)
			advance(g, e, e->next + n);
		left -= n;
	}
	if (left > 0)
		hand_over(g, c, true);
}

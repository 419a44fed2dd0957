/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up. There is no way to cancel a request: the daemon writes into the buffer whenever the read arrives. So a
 * buffer with requests that do not come back is never used again; the next call gets a fresh one.
 */
#include <errno.h>
#include <stdio.h>

#include "clock.h"
#include "engine_i.h"

/* Copies read from the buffer and end by themselves; a GPU that hangs is waited for no longer than storage is. */
static void finish_copies(struct fst3fs_engine *g)
{
	struct fst3fs_session *s = g->session;
	uint64_t deadline = fst3fs_now_ns() + g->timeout_ms * FST3FS_NS_PER_MS;

	while (s->copying > 0 && fst3fs_now_ns() < deadline)
		if (!fst3fs_collect_copies(g))
			fst3fs_waker_wait(&s->waker, fst3fs_now_ns() + 10 * FST3FS_NS_PER_MS);
}

/* What is still being read or copied is nobody's any more: its ranges can end. Modelled, with all of giving up, in
 * tests/models/session.pml (NOT_LOST, NOT_HELD). */
static void disown_slots(struct fst3fs_session *s)
{
	for (uint32_t i = 0; i < s->layout.slots; i++) {
		struct fst3fs_slot *slot = &s->slots[i];
		struct fst3fs_entry *e = slot->entry;

		if (!e)
			continue;
		if (slot->direct && slot->state == FST3FS_SLOT_READING && e->area) {
			e->area->lost = true;
			/* The daemon's mapping is its own, but a thread of this process writes to the address. */
			if (slot->io == s->posix) {
				fst3fs_area_get(e->area);
				slot->held = e->area;
			}
		}
		e->busy--;
		e->call->busy--;
		e->call->landed = NULL;
		slot->entry = NULL;
	}
}

static void fail_calls(struct fst3fs_engine *g, struct fst3fs_call *c, const struct fst3fs_error *why)
{
	struct fst3fs_error other;

	if (!c)
		return;
	fst3fs_err_reset(&other);
	fst3fs_err_set(&other, c->interrupted_ns ? -ECANCELED : why->code,
		       "given up together with another read of this reader: %.600s", why->text);
	c->given_up = true;
	fst3fs_call_fail(g, c, why);
	while (g->active)
		fst3fs_call_fail(g, g->active, &other);
}

void fst3fs_give_up(struct fst3fs_engine *g, struct fst3fs_call *c, const struct fst3fs_error *why)
{
	struct fst3fs_session *s = g->session;

	finish_copies(g);
	disown_slots(s);
	fail_calls(g, c, why);
	g->session = NULL;
	fst3fs_count_given_up(&g->count);
	/* Nothing here waits for the mount: closing files and deregistering is left to other threads. */
	fst3fs_files_drop(g->files, 0);
	fst3fs_session_free(s, true, 0);
}

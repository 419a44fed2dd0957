/* SPDX-License-Identifier: Apache-2.0 */
/* Bookkeeping of calls and their ranges. */
#include <errno.h>

#include "clock.h"
#include "engine_i.h"

static bool wants_more(const struct fst3fs_entry *e)
{
	return e->state != FST3FS_ENTRY_DONE && e->status == 0 && (e->state != FST3FS_ENTRY_READY || e->next < e->end);
}

struct fst3fs_entry *fst3fs_call_next(struct fst3fs_call *c)
{
	while (c->cursor < c->count && !wants_more(&c->entries[c->cursor]))
		c->cursor++;
	for (size_t i = c->cursor; i < c->count && i < c->cursor + FST3FS_CALL_AHEAD; i++) {
		struct fst3fs_entry *e = &c->entries[i];

		if (e->state == FST3FS_ENTRY_READY && e->status == 0 && e->next < e->end)
			return e;
	}
	return NULL;
}

static void unlink_call(struct fst3fs_call **list, const struct fst3fs_call *c)
{
	while (*list && *list != c)
		list = &(*list)->next;
	if (*list)
		*list = c->next;
}

static void finish_call(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	unlink_call(&g->active, c);
	unlink_call(&g->waiting, c);
	c->next = NULL;
	c->done = true;
	pthread_cond_signal(&c->wake);
}

void fst3fs_entry_settle(struct fst3fs_engine *g, struct fst3fs_entry *e)
{
	struct fst3fs_call *c = e->call;

	if (e->state == FST3FS_ENTRY_DONE || e->state == FST3FS_ENTRY_OPENING || e->busy > 0 || (wants_more(e)))
		return;
	e->state = FST3FS_ENTRY_DONE;
	if (e->file)
		fst3fs_files_put(g->files, e->file);
	e->file = NULL;
	e->request->result = e->status < 0 ? e->status : (int64_t)e->delivered;
	if (e->status == 0)
		g->count.reads++;
	if (++c->done_count == c->count)
		finish_call(g, c);
}

/* An opening that is still under way cleans up after itself. */
static void forget_opening(struct fst3fs_entry *e)
{
	*e->opener = NULL;
	e->opener = NULL;
	e->call->opening--;
	e->state = FST3FS_ENTRY_READY; /* with nothing to read: its owner settles it */
}

void fst3fs_entry_fail(struct fst3fs_engine *g, struct fst3fs_entry *e, const struct fst3fs_error *why)
{
	struct fst3fs_call *c = e->call;
	size_t index = (size_t)(e - c->entries);

	if (e->state == FST3FS_ENTRY_DONE)
		return;
	if (e->state == FST3FS_ENTRY_OPENING)
		forget_opening(e);
	if (e->status == 0 && index < c->err_index) {
		*c->err = *why;
		c->err->index = (int64_t)index;
		fst3fs_err_set_path(c->err, e->request->path);
		c->err_index = index;
	}
	if (e->status == 0)
		e->status = why->code;
	fst3fs_entry_settle(g, e);
}

void fst3fs_call_fail(struct fst3fs_engine *g, struct fst3fs_call *c, const struct fst3fs_error *why)
{
	for (size_t i = 0; i < c->count; i++)
		fst3fs_entry_fail(g, &c->entries[i], why);
}

void fst3fs_call_interrupt(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	struct fst3fs_error err;

	if (c->interrupted_ns)
		return;
	c->interrupted_ns = fst3fs_now_ns();
	fst3fs_err_reset(&err);
	fst3fs_err_set(&err, -EINTR, "interrupted");
	fst3fs_call_fail(g, c, &err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bookkeeping of calls and their ranges. */
#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "engine_i.h"

void fst3fs_entry_init(struct fst3fs_entry *e, const char *path, uint64_t offset, uint64_t length, uint64_t dst)
{
	*e = (struct fst3fs_entry){
		.path = path, .offset = offset, .length = length, .segments = &e->whole, .nsegments = 1};
	e->whole = (struct fst3fs_segment){.offset = offset, .length = length, .dst = dst, .reach = offset + length};
}

void fst3fs_call_begin(struct fst3fs_call *c, struct fst3fs_error *err)
{
	for (size_t i = 0; i < c->count; i++) {
		c->entries[i]->call = c;
		c->entries[i]->index = i;
	}
	if (!c->placed)
		fst3fs_place_here(&c->place);
	c->err = err;
	c->err_index = SIZE_MAX;
	fst3fs_err_reset(c->err);
	pthread_cond_init(&c->wake, NULL);
}

void fst3fs_call_end(struct fst3fs_call *c)
{
	pthread_cond_destroy(&c->wake);
}

static bool wants_more(const struct fst3fs_entry *e)
{
	return e->state != FST3FS_ENTRY_DONE && e->status == 0 && (e->state != FST3FS_ENTRY_READY || e->next < e->end);
}

struct fst3fs_entry *fst3fs_call_next(struct fst3fs_call *c)
{
	while (c->cursor < c->count && !wants_more(c->entries[c->cursor]))
		c->cursor++;
	for (size_t i = c->cursor; i < c->count && i < c->cursor + FST3FS_CALL_AHEAD; i++) {
		struct fst3fs_entry *e = c->entries[i];

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

/* Modelled in tests/models/drive.pml. */
static void finish_call(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	unlink_call(&g->active, c);
	unlink_call(&g->waiting, c);
	c->next = NULL;
	c->done = true;
	pthread_cond_signal(&c->wake);
}

/* Modelled in tests/models/stream.pml (NO_TELL_ON_END). */
void fst3fs_entry_end_targets(struct fst3fs_entry *e, int status, pthread_cond_t *moved)
{
	for (size_t i = 0; i < e->nsegments; i++) {
		struct fst3fs_target *t = e->segments[i].target;

		if (!t)
			continue;
		t->pending--;
		if (t->status == 0 && t->left > 0) {
			t->status = status;
			t->why = e->why;
		}
		e->segments[i].target = NULL;
	}
	if (moved)
		pthread_cond_broadcast(moved);
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
	if (e->status == 0)
		g->count.reads++;
	if (!c->stale)
		fst3fs_entry_end_targets(e, e->status, c->moved);
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

/* For those who wait for the range alone. */
static void keep_why(struct fst3fs_entry *e, const struct fst3fs_error *why)
{
	e->why = malloc(sizeof(*e->why));
	if (!e->why)
		return;
	*e->why = *why;
	fst3fs_err_set_path(e->why, e->path);
}

void fst3fs_entry_fail(struct fst3fs_engine *g, struct fst3fs_entry *e, const struct fst3fs_error *why)
{
	struct fst3fs_call *c = e->call;

	if (e->state == FST3FS_ENTRY_DONE)
		return;
	if (e->state == FST3FS_ENTRY_OPENING)
		forget_opening(e);
	if (e->status == 0 && e->index < c->err_index) {
		*c->err = *why;
		c->err->index = (int64_t)e->index;
		fst3fs_err_set_path(c->err, e->path);
		c->err_index = e->index;
	}
	if (e->status == 0 && c->moved)
		keep_why(e, why);
	if (e->status == 0)
		e->status = why->code;
	fst3fs_entry_settle(g, e);
}

void fst3fs_call_fail(struct fst3fs_engine *g, struct fst3fs_call *c, const struct fst3fs_error *why)
{
	for (size_t i = 0; i < c->count; i++)
		fst3fs_entry_fail(g, c->entries[i], why);
}

void fst3fs_call_interrupt(struct fst3fs_engine *g, struct fst3fs_call *c, int code, const char *text)
{
	struct fst3fs_error err;

	if (c->interrupted_ns)
		return;
	c->interrupted_ns = fst3fs_now_ns();
	fst3fs_err_reset(&err);
	fst3fs_err_set(&err, code, "%s", text);
	fst3fs_call_fail(g, c, &err);
}

/* ------------------------------------------------------------------ again, on another mount */

/* What is whole was handed on: it is not delivered a second time (tests/models/stream.pml: WHOLE_IS_READ_AGAIN). Then
 * the rest is copied: what is read without a copy lies in one piece. */
static void rewind_segments(struct fst3fs_entry *e)
{
	for (size_t i = 0; i < e->nsegments; i++) {
		struct fst3fs_segment *seg = &e->segments[i];

		if (e->call->moved && seg->delivered == seg->length) {
			seg->dst = 0;
			e->area = NULL;
		} else if (seg->target) {
			seg->target->left += seg->delivered;
			seg->delivered = 0;
		}
	}
}

static void rewind_entry(struct fst3fs_entry *e)
{
	rewind_segments(e);
	free(e->why);
	*e = (struct fst3fs_entry){
		.path = e->path,
		.offset = e->offset,
		.length = e->length,
		.segments = e->segments,
		.nsegments = e->nsegments,
		.whole = e->whole,
		.exact = e->exact,
		.inode = e->inode,
		.area = e->area,
		.call = e->call,
		.index = e->index,
	};
}

/* Who waits for an entry that was read, or that failed before the mount was missed, has been told or is now. Its
 * destination is theirs. */
static bool stays_over(struct fst3fs_entry *e)
{
	struct fst3fs_call *c = e->call;

	if (!c->moved)
		return false;
	if (e->status == 0)
		fst3fs_entry_end_targets(e, 0, c->moved);
	else if (e->segments->target)
		return false;
	else if (c->err_index == SIZE_MAX && e->why) {
		*c->err = *e->why;
		c->err->index = (int64_t)e->index;
		c->err_index = e->index;
	}
	return true;
}

void fst3fs_call_rewind(struct fst3fs_call *c)
{
	c->opened = c->cursor = c->done_count = 0;
	c->done = c->stale = false;
	c->err_index = SIZE_MAX;
	fst3fs_err_reset(c->err);
	for (size_t i = 0; i < c->count; i++) {
		if (stays_over(c->entries[i]))
			c->done_count++;
		else
			rewind_entry(c->entries[i]);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "background_i.h"

/* A run of the plan, as the engine reads it, and its segments. */
struct chunk {
	struct chunk *next;
	struct fst3fs_entry entry;
	struct fst3fs_segment segments[];
};

struct fst3fs_background {
	struct fst3fs_reader *reader; /* a reference, and one of the thread's */
	struct fst3fs_background_plan what;
	size_t next_run;
	atomic_bool stop; /* the thread reads no more */
	struct fst3fs_place place;

	/* Under the engine's lock. */
	struct fst3fs_target *targets;
	struct chunk *chunks, **tail; /* all of them, until the end */
	struct chunk *fresh;	      /* the first that no call has taken */
	struct fst3fs_call call;
	bool running; /* `call` is in the engine */
	bool closed;  /* nothing more will be added */
	bool ended;   /* so is the thread */
	pthread_cond_t work, moved;
	uint64_t starved_ns, idle_since_ns; /* 0 = not idle */
	struct fst3fs_error call_err, err;  /* of the call that runs; the first of all */
	int rc;
};

/* ------------------------------------------------------------------ the thread (under the engine's lock) */

/* What no call will read any more. */
static void drop_fresh(struct fst3fs_background *b, int code)
{
	for (; b->fresh; b->fresh = b->fresh->next)
		fst3fs_entry_end_targets(&b->fresh->entry, code, &b->moved);
}

/* Before `running`: from then on others append to the call and cancel it (tests/models/drive.pml: SET_UP_LATE). */
static int call_init(struct fst3fs_background *b)
{
	b->call = (struct fst3fs_call){
		.cap = b->what.chunk_size,
		.moved = &b->moved,
		.open = !b->closed,
		.off_mount = b->call.off_mount, /* what is to be said at the end */
		.renewed = b->call.renewed,
		.place = b->place,
		.placed = true,
	};
	b->call.entries = malloc(sizeof(struct fst3fs_entry *));
	if (!b->call.entries)
		return fst3fs_err_set(&b->call_err, -ENOMEM, "no memory for a list of requests");
	b->call.entries[0] = &b->fresh->entry;
	b->call.count = 1;
	b->fresh = b->fresh->next;
	fst3fs_call_begin(&b->call, &b->call_err);
	return 0;
}

/* Chunks that were added meanwhile go into the call that runs. */
static void feed(struct fst3fs_background *b)
{
	while (b->fresh && fst3fs_engine_append(&b->reader->engine, &b->call, &b->fresh->entry) > 0)
		b->fresh = b->fresh->next;
}

/* Ranges that failed in a stale call which was not run again have told nobody
 * (tests/models/stream.pml: MISSED_IS_UNTOLD). */
static void end_stale(struct fst3fs_background *b)
{
	for (size_t i = 0; b->call.stale && i < b->call.count; i++)
		fst3fs_entry_end_targets(b->call.entries[i], b->call.entries[i]->status, &b->moved);
}

static void run(struct fst3fs_background *b)
{
	struct fst3fs_engine *g = &b->reader->engine;
	int rc;

	fst3fs_err_reset(&b->call_err);
	rc = call_init(b);
	if (rc == 0) {
		b->running = true;
		feed(b);
		pthread_mutex_unlock(&g->lock);
		rc = fst3fs_reader_run(b->reader, &b->call);
		pthread_mutex_lock(&g->lock);
		b->running = false;
		fst3fs_call_end(&b->call);
		end_stale(b);
	} else {
		drop_fresh(b, rc);
	}
	if (rc < 0 && b->rc == 0) {
		b->rc = rc;
		b->err = b->call_err;
	}
	free(b->call.entries);
	b->call.entries = NULL;
}

static void wait_for_work(struct fst3fs_background *b)
{
	uint64_t now;

	b->idle_since_ns = fst3fs_now_ns();
	pthread_cond_wait(&b->work, &b->reader->engine.lock);
	now = fst3fs_now_ns();
	b->starved_ns += now - b->idle_since_ns;
	b->reader->engine.count.consumer_wait_ns += now - b->idle_since_ns;
	fst3fs_trace_span(b->reader->engine.trace, FST3FS_TRACE_WAITS, FST3FS_TRACE_WAIT_CONSUMER, b->idle_since_ns,
			  now, 0, 0);
	b->idle_since_ns = 0;
}

static void *background_main(void *arg)
{
	struct fst3fs_background *b = arg;
	struct fst3fs_engine *g = &b->reader->engine;

	fst3fs_engine_background(&b->stop);
	pthread_mutex_lock(&g->lock);
	while (!atomic_load(&b->stop) && (b->fresh || !b->closed)) {
		if (b->fresh)
			run(b);
		else
			wait_for_work(b);
	}
	drop_fresh(b, -ECANCELED);
	b->ended = true;
	/* Whoever wakes may free it (tests/models/stream.pml: NO_TELL_AT_THE_END, LEAVES_AT_ONCE). */
	pthread_cond_broadcast(&b->moved);
	pthread_mutex_unlock(&g->lock);
	fst3fs_engine_unref(g); /* the batch may be gone by now */
	return NULL;
}

/* ------------------------------------------------------------------ making one */

static void background_free(struct fst3fs_background *b)
{
	struct fst3fs_engine *g = &b->reader->engine;

	while (b->chunks) {
		struct chunk *next = b->chunks->next;

		free(b->chunks->entry.why);
		free(b->chunks);
		b->chunks = next;
	}
	free(b->targets);
	pthread_cond_destroy(&b->moved);
	pthread_cond_destroy(&b->work);
	free(b);
	fst3fs_engine_unref(g);
}

static int start(struct fst3fs_background *b, struct fst3fs_error *err)
{
	int rc;

	fst3fs_engine_ref(&b->reader->engine);
	rc = fst3fs_thread_detach("fst3fs-read", background_main, b);
	if (rc == 0)
		return 0;
	fst3fs_engine_unref(&b->reader->engine);
	return fst3fs_err_set(err, rc, "cannot start a thread: %s", fst3fs_strerror(rc));
}

int fst3fs_background_new(struct fst3fs_reader *r, const struct fst3fs_background_plan *what,
			  struct fst3fs_background **out, struct fst3fs_error *err)
{
	struct fst3fs_background *b = calloc(1, sizeof(*b));
	int rc;

	if (b)
		b->targets = calloc(what->n + 1, sizeof(*b->targets));
	if (!b || !b->targets) {
		free(b);
		return fst3fs_err_set(err, -ENOMEM, "no memory for %zu ranges", what->n);
	}
	for (size_t i = 0; i < what->n; i++)
		b->targets[i].left = what->extents[i].end - what->extents[i].begin;
	for (size_t i = 0; i < what->plan->nparts; i++)
		b->targets[what->plan->parts[i].extent].pending++;
	pthread_cond_init(&b->work, NULL);
	pthread_cond_init(&b->moved, NULL);
	fst3fs_engine_ref(&r->engine);
	b->reader = r;
	b->what = *what;
	fst3fs_place_here(&b->place);
	b->tail = &b->chunks;
	b->closed = what->plan->nruns == 0;
	rc = start(b, err);
	if (rc < 0) {
		background_free(b);
		return rc;
	}
	*out = b;
	return 0;
}

/* ------------------------------------------------------------------ adding to it */

static struct chunk *chunk_new(struct fst3fs_background *b, const struct fst3fs_plan_run *run)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk) + run->parts * sizeof(chunk->segments[0]));

	if (!chunk)
		return NULL;
	fst3fs_entry_init(&chunk->entry, b->what.paths[run->file], run->begin, run->end - run->begin, 0);
	chunk->entry.segments = chunk->segments;
	chunk->entry.nsegments = run->parts;
	chunk->entry.exact = b->what.exact;
	chunk->entry.inode = b->what.inodes ? b->what.inodes[run->file] : 0;
	for (size_t i = 0; i < run->parts; i++) {
		const struct fst3fs_plan_part *part = &b->what.plan->parts[run->part + i];
		uint64_t dst = b->what.dsts[part->extent];

		chunk->segments[i] = (struct fst3fs_segment){
			.offset = part->begin,
			.length = part->end - part->begin,
			.dst = dst ? dst + part->within : 0,
			.reach = part->reach,
			.target = &b->targets[part->extent],
		};
	}
	return chunk;
}

/* Whose memory the chunk goes to: the reader's own buffer serves other reads; an area takes bytes without a copy when
 * they are to lie there as they do in the file. */
static int chunk_place(struct fst3fs_reader *r, struct chunk *chunk, struct fst3fs_error *err)
{
	struct fst3fs_entry *e = &chunk->entry;
	const struct fst3fs_segment *before = NULL;
	int rc = 0;

	for (size_t i = 0; i < e->nsegments && rc == 0; i++) {
		const struct fst3fs_segment *seg = &e->segments[i];
		const struct fst3fs_request q = {.path = e->path, .dst = seg->dst, .length = (int64_t)seg->length};
		struct fst3fs_area *area;
		bool own;

		rc = fst3fs_reader_place(r, &q, &area, &own, err);
		if (rc == 0 && own)
			rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
						 "the reader's own buffer serves one request at a time");
		if (!before)
			e->area = area;
		else if (area != e->area || before->offset + before->length != seg->offset ||
			 before->dst + before->length != seg->dst)
			e->area = NULL;
		before = seg;
	}
	return rc;
}

int fst3fs_background_add_run(struct fst3fs_background *b, struct fst3fs_error *err)
{
	struct fst3fs_engine *g = &b->reader->engine;
	int rc = fst3fs_reader_check(b->reader, err);
	struct chunk *chunk = rc == 0 ? chunk_new(b, &b->what.plan->runs[b->next_run]) : NULL;

	if (chunk)
		rc = chunk_place(b->reader, chunk, err);
	else if (rc == 0)
		rc = fst3fs_err_set(err, -ENOMEM, "no memory for a request");
	if (rc < 0) {
		free(chunk);
		return rc;
	}
	b->next_run++;
	pthread_mutex_lock(&g->lock);
	b->closed = b->next_run == b->what.plan->nruns;
	if (b->closed)
		b->call.open = false;
	*b->tail = chunk;
	b->tail = &chunk->next;
	if (!b->fresh)
		b->fresh = chunk;
	if (b->ended)
		drop_fresh(b, -ECANCELED);
	else if (b->running)
		feed(b);
	/* tests/models/stream.pml: NO_WORK_SIGNAL */
	pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

size_t fst3fs_background_runs_left(const struct fst3fs_background *b)
{
	return b->what.plan->nruns - b->next_run;
}

/* ------------------------------------------------------------------ waiting for it */

static bool is_over(const struct fst3fs_background *b, const struct fst3fs_target *t)
{
	return t->left == 0 || t->pending == 0 || t->status < 0 || b->ended;
}

bool fst3fs_background_is_over(struct fst3fs_background *b, size_t i)
{
	bool over;

	if (fst3fs_reader_check(b->reader, NULL) < 0)
		return true; /* waiting would say so at once */
	pthread_mutex_lock(&b->reader->engine.lock);
	over = is_over(b, &b->targets[i]);
	pthread_mutex_unlock(&b->reader->engine.lock);
	return over;
}

/* What became of target `i`. */
static int64_t outcome(const struct fst3fs_background *b, size_t i, struct fst3fs_error *err)
{
	const struct fst3fs_target *t = &b->targets[i];
	const struct fst3fs_plan_extent *x = &b->what.extents[i];

	if (t->left == 0 || (t->status == 0 && t->pending == 0))
		return (int64_t)(x->end - x->begin - t->left);
	if (err && t->why)
		*err = *t->why;
	else
		fst3fs_err_set(err, t->status < 0 ? t->status : -ECANCELED, "%s",
			       t->status < 0 ? fst3fs_strerror(t->status) : "cancelled");
	fst3fs_err_set_path(err, b->what.paths[x->file]);
	if (err)
		err->index = (int64_t)i;
	return t->status < 0 ? t->status : -ECANCELED;
}

/* Modelled, with the thread and the end, in tests/models/stream.pml. */
int64_t fst3fs_background_wait(struct fst3fs_background *b, size_t i, struct fst3fs_error *err)
{
	struct fst3fs_engine *g = &b->reader->engine;
	int64_t result = fst3fs_reader_check(b->reader, err);
	bool stop = false;

	if (result < 0)
		return result;
	pthread_mutex_lock(&g->lock);
	while (!is_over(b, &b->targets[i]) && !stop)
		stop = fst3fs_engine_doze(g, &b->moved);
	if (is_over(b, &b->targets[i]))
		result = outcome(b, i, err);
	else
		result = fst3fs_err_set(err, -EINTR, "interrupted");
	pthread_mutex_unlock(&g->lock);
	fst3fs_trace_flush(g->trace); /* a stream may be one call for minutes */
	return result;
}

uint64_t fst3fs_background_starved_ns(struct fst3fs_background *b)
{
	struct fst3fs_engine *g = &b->reader->engine;
	uint64_t ns;

	if (fst3fs_reader_check(b->reader, NULL) < 0)
		return 0;
	pthread_mutex_lock(&g->lock);
	ns = b->starved_ns + (b->idle_since_ns ? fst3fs_now_ns() - b->idle_since_ns : 0);
	pthread_mutex_unlock(&g->lock);
	return ns;
}

/* ------------------------------------------------------------------ its end */

/* The first target that failed, for the error's index. */
static int64_t first_failed(const struct fst3fs_background *b)
{
	for (size_t i = 0; i < b->what.n; i++)
		if (b->targets[i].status < 0)
			return (int64_t)i;
	return -1;
}

/* Under the lock. */
static void cancel(struct fst3fs_background *b)
{
	atomic_store(&b->stop, true);
	if (b->running)
		fst3fs_engine_cancel(&b->reader->engine, &b->call);
	pthread_cond_signal(&b->work);
}

int fst3fs_background_end(struct fst3fs_background *b, bool at_once, struct fst3fs_error *err)
{
	struct fst3fs_engine *g = &b->reader->engine;
	bool stopped = false;
	int rc = fst3fs_reader_check(b->reader, err);

	if (rc < 0)
		return rc; /* a child after fork, which has no such thread: everything is left to its exit */
	pthread_mutex_lock(&g->lock);
	b->closed = true;
	if (at_once)
		cancel(b);
	pthread_cond_signal(&b->work);
	while (!b->ended) {
		if (!fst3fs_engine_doze(g, &b->moved) || stopped || b->ended)
			continue;
		stopped = true;
		cancel(b);
	}
	rc = at_once ? 0 : b->rc;
	pthread_mutex_unlock(&g->lock);
	if (rc < 0 && err) {
		*err = b->err;
		err->index = first_failed(b);
	}
	if (stopped) {
		fst3fs_err_reset(err);
		rc = fst3fs_err_set(err, -EINTR, "interrupted");
	}
	fst3fs_reader_tell(b->reader, &b->call);
	background_free(b);
	return rc;
}

int fst3fs_background_add_all(struct fst3fs_background *b, struct fst3fs_error *err)
{
	int rc = 0;

	while (rc == 0 && fst3fs_background_runs_left(b) > 0)
		rc = fst3fs_background_add_run(b, err);
	if (rc < 0)
		fst3fs_background_end(b, true, NULL);
	return rc;
}

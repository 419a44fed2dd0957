/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine needs before its first call and gives back after its last. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

bool fst3fs_engine_init(struct fst3fs_engine *g, const struct fst3fs_options *o, const struct fst3fs_io_ops *main,
			const char *mount_point, void (*end)(struct fst3fs_engine *g))
{
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->idle, NULL);
	g->refs = 1;
	g->log = (struct fst3fs_log){.fn = o->log, .ctx = o->log_ctx, .level = o->log_level};
	g->interrupted = o->interrupted;
	g->interrupted_ctx = o->interrupted_ctx;
	g->timeout_ms = o->timeout_ms;
	g->require_usrbio = o->require_usrbio;
	g->main = main;
	g->layout = fst3fs_layout_choose(o->buffer_size, (uint32_t)o->entries);
	g->end = end;
	g->mount_point = strdup(mount_point);
	g->sdk_path = strdup(o->sdk_path ? o->sdk_path : "");
	g->files = fst3fs_files_new(main, g->sdk_path);
	g->openers = fst3fs_pool_new("fst3fs-open", 16);
	if (o->populate)
		g->populator = fst3fs_populator_new();
	if (g->mount_point && g->sdk_path && g->files && g->openers)
		return true;
	fst3fs_engine_fini(g);
	return false;
}

/* Nobody waits for threads of the pools that still work (tests/models/populator.pml: POOL_FREED_BY_OWNER). */
void fst3fs_engine_fini(struct fst3fs_engine *g)
{
	fst3fs_pool_leave(g->openers, 0);
	fst3fs_populator_end(g->populator);
	fst3fs_files_free(g->files);
	fst3fs_trace_close(g->trace);
	pthread_cond_destroy(&g->idle);
	pthread_mutex_destroy(&g->lock);
	free(g->mount_point);
	free(g->sdk_path);
}

void fst3fs_engine_ref(struct fst3fs_engine *g)
{
	pthread_mutex_lock(&g->lock);
	g->refs++;
	pthread_mutex_unlock(&g->lock);
}

void fst3fs_engine_unref(struct fst3fs_engine *g)
{
	bool last;

	pthread_mutex_lock(&g->lock);
	last = --g->refs == 0;
	pthread_mutex_unlock(&g->lock);
	if (last)
		g->end(g);
}

static _Thread_local const atomic_bool *background;

void fst3fs_engine_background(const atomic_bool *stop)
{
	background = stop;
}

bool fst3fs_engine_asks_to_stop(const struct fst3fs_engine *g)
{
	if (background)
		return atomic_load(background);
	return g->interrupted && g->interrupted(g->interrupted_ctx) != 0;
}

/* Modelled in tests/models/drive.pml, where nobody is woken by the time alone. */
bool fst3fs_engine_doze(struct fst3fs_engine *g, pthread_cond_t *cond)
{
	struct timespec ts = fst3fs_timespec(fst3fs_now_ns() + FST3FS_GLANCE_NS);
	bool stop;

	if (pthread_cond_clockwait(cond, &g->lock, CLOCK_MONOTONIC, &ts) != ETIMEDOUT)
		return false;
	pthread_mutex_unlock(&g->lock);
	stop = fst3fs_engine_asks_to_stop(g);
	pthread_mutex_lock(&g->lock);
	return stop;
}

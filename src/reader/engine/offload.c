/* SPDX-License-Identifier: Apache-2.0 */
#include "offload.h"

#include <errno.h>

#include "clock.h"
#include "pool.h"

/* What the work waits for has the same bound, and a better text when that runs out. */
#define MARGIN_NS FST3FS_NS_PER_S

/* Modelled, with wait_for, in tests/models/session.pml. */
static void *offload_main(void *arg)
{
	struct fst3fs_offload *a = arg;
	struct fst3fs_engine *g = a->engine;
	bool alone;

	fst3fs_place_take(&a->place, NULL);
	a->run(a);
	pthread_mutex_lock(&g->lock);
	a->done = true;
	alone = a->alone;
	pthread_cond_signal(&a->ended);
	pthread_mutex_unlock(&g->lock);
	if (alone) {
		pthread_cond_destroy(&a->ended);
		a->undo(a);
	}
	fst3fs_engine_unref(g);
	return NULL;
}

/* Waits for the thread; 0 when it has ended. Under the lock. */
static int wait_for(struct fst3fs_engine *g, struct fst3fs_offload *a, struct fst3fs_error *err)
{
	uint64_t deadline = fst3fs_now_ns() + g->timeout_ms * FST3FS_NS_PER_MS + MARGIN_NS;

	while (!a->done) {
		struct timespec ts = fst3fs_timespec(fst3fs_now_ns() + FST3FS_GLANCE_NS);
		bool stop;

		if (pthread_cond_clockwait(&a->ended, &g->lock, CLOCK_MONOTONIC, &ts) != ETIMEDOUT || a->done)
			continue;
		if (fst3fs_now_ns() >= deadline)
			return fst3fs_err_set(err, -ETIMEDOUT, "no answer for %u ms: the daemon hangs", g->timeout_ms);
		pthread_mutex_unlock(&g->lock);
		stop = fst3fs_engine_asks_to_stop(g);
		pthread_mutex_lock(&g->lock);
		if (stop && !a->done)
			return fst3fs_err_set(err, -EINTR, "interrupted");
	}
	return 0;
}

static int start(struct fst3fs_engine *g, struct fst3fs_offload *a)
{
	int rc;

	a->engine = g;
	pthread_cond_init(&a->ended, NULL);
	g->refs++;
	rc = fst3fs_thread_detach("fst3fs-offload", offload_main, a);
	if (rc < 0) {
		g->refs--;
		pthread_cond_destroy(&a->ended);
	}
	return rc;
}

int fst3fs_offload_run(struct fst3fs_engine *g, struct fst3fs_offload **a, struct fst3fs_error *err)
{
	int rc;

	fst3fs_err_reset(&(*a)->err);
	fst3fs_place_here(&(*a)->place);
	pthread_mutex_lock(&g->lock);
	rc = start(g, *a);
	if (rc < 0) {
		pthread_mutex_unlock(&g->lock);
		return fst3fs_err_set(err, rc, "cannot start a thread: %s", fst3fs_strerror(rc));
	}
	rc = wait_for(g, *a, err);
	(*a)->alone = rc < 0;
	pthread_mutex_unlock(&g->lock);
	if (rc < 0) {
		*a = NULL;
		return rc;
	}
	pthread_cond_destroy(&(*a)->ended);
	if ((*a)->rc < 0 && err)
		*err = (*a)->err;
	return (*a)->rc;
}

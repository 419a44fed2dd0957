/* SPDX-License-Identifier: Apache-2.0 */
#include "away.h"

#include <errno.h>

#include "clock.h"
#include "pool.h"

/* What the work waits for has the same bound, and a better text when that runs out. */
#define MARGIN_NS FST3FS_NS_PER_S

static void *away_main(void *arg)
{
	struct fst3fs_away *a = arg;
	struct fst3fs_reader *r = a->reader;
	bool alone;

	a->run(a);
	pthread_mutex_lock(&r->lock);
	a->done = true;
	alone = a->alone;
	pthread_cond_signal(&a->ended);
	pthread_mutex_unlock(&r->lock);
	if (alone) {
		pthread_cond_destroy(&a->ended);
		a->undo(a);
	}
	fst3fs_reader_unref(r);
	return NULL;
}

/* Waits for the thread; 0 when it has ended. Under the lock. */
static int wait_for(struct fst3fs_reader *r, struct fst3fs_away *a, struct fst3fs_error *err)
{
	uint64_t deadline = fst3fs_now_ns() + r->timeout_ms * FST3FS_NS_PER_MS + MARGIN_NS;

	while (!a->done) {
		struct timespec ts = fst3fs_timespec(fst3fs_now_ns() + FST3FS_GLANCE_NS);
		bool stop;

		if (pthread_cond_clockwait(&a->ended, &r->lock, CLOCK_MONOTONIC, &ts) != ETIMEDOUT || a->done)
			continue;
		if (fst3fs_now_ns() >= deadline)
			return fst3fs_err_set(err, -ETIMEDOUT, "no answer for %u ms: the daemon hangs", r->timeout_ms);
		pthread_mutex_unlock(&r->lock);
		stop = fst3fs_reader_asks_to_stop(r);
		pthread_mutex_lock(&r->lock);
		if (stop && !a->done)
			return fst3fs_err_set(err, -EINTR, "interrupted");
	}
	return 0;
}

static int start(struct fst3fs_reader *r, struct fst3fs_away *a)
{
	int rc;

	a->reader = r;
	pthread_cond_init(&a->ended, NULL);
	r->refs++;
	rc = fst3fs_thread_detach("fst3fs-away", away_main, a);
	if (rc < 0) {
		r->refs--;
		pthread_cond_destroy(&a->ended);
	}
	return rc;
}

int fst3fs_away_run(struct fst3fs_reader *r, struct fst3fs_away **a, struct fst3fs_error *err)
{
	int rc;

	fst3fs_err_reset(&(*a)->err);
	pthread_mutex_lock(&r->lock);
	rc = start(r, *a);
	if (rc < 0) {
		pthread_mutex_unlock(&r->lock);
		return fst3fs_err_set(err, rc, "cannot start a thread: %s", fst3fs_strerror(rc));
	}
	rc = wait_for(r, *a, err);
	(*a)->alone = rc < 0;
	pthread_mutex_unlock(&r->lock);
	if (rc < 0) {
		*a = NULL;
		return rc;
	}
	pthread_cond_destroy(&(*a)->ended);
	if ((*a)->rc < 0 && err)
		*err = (*a)->err;
	return (*a)->rc;
}

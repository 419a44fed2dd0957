/* SPDX-License-Identifier: Apache-2.0 */
/* What bounds a wait: progress, the far side's death, and the patience of a caller that was interrupted. */
#include <errno.h>
#include <inttypes.h>

#include "clock.h"
#include "engine_i.h"

/* When a transport that was full with nothing in flight is tried again. */
#define RETRY_NS (50 * 1000ull)
/* How long the requests of an interrupted call may take to come back before the buffer is given up. */
#define GRACE_NS FST3FS_NS_PER_S
/* After how long without any completion the transport is asked whether its other side is still there. */
#define DOUBT_NS (500 * FST3FS_NS_PER_MS)

/* Modelled in tests/models/session.pml, where it may come at any time. */
static void time_out(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	const struct fst3fs_entry *e = c->entries[0];
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	if (c->busy == 0) {
		fst3fs_err_set(&err, -ETIMEDOUT, "%s for %u ms",
			       c->opening > 0 ? "the file was being opened" : "the transport took no request",
			       g->timeout_ms);
		fst3fs_call_fail(g, c, &err);
		return;
	}
	for (size_t i = 1; i < c->count && e->busy == 0; i++)
		e = c->entries[i];
	/* A GPU that hangs is a failed device; memory that comes too slowly is not. */
	if (g->session->reading == 0)
		fst3fs_err_set_kind(
			&err, e->dev && e->dev->ops != &fst3fs_dev_host ? FST3FS_ERROR_DEVICE : FST3FS_ERROR_SYSTEM,
			-ETIMEDOUT, "copies to %s did not end within %u ms", e->dev ? e->dev->name : "memory",
			g->timeout_ms);
	else
		fst3fs_err_set(&err, -ETIMEDOUT,
			       "no completion for %u ms with %u requests in flight (%s): the daemon hangs or is gone; "
			       "the buffer was given up",
			       g->timeout_ms, c->busy, e->io->ops->name);
	fst3fs_err_set_path(&err, e->path);
	fst3fs_give_up(g, c, &err);
}

static bool peer_gone(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	struct fst3fs_io *io = g->session->main;
	struct fst3fs_error err;
	int rc = io && io->ops->probe ? io->ops->probe(io) : 0;

	if (rc == 0)
		return false;
	fst3fs_err_reset(&err);
	fst3fs_err_set(&err, rc, "the daemon of %s is gone (%s), %u requests were in flight; the buffer was given up",
		       g->mount_point, fst3fs_strerror(rc), c->busy);
	fst3fs_give_up(g, c, &err);
	return true;
}

bool fst3fs_check_bounds(struct fst3fs_engine *g, uint64_t *look_again_ns)
{
	uint64_t now = fst3fs_now_ns(), bound = g->timeout_ms * FST3FS_NS_PER_MS;

	/* Full with nothing in flight: the daemon has answered everything and not yet moved the queue's tail. Nothing
	 * will be posted when it does (tests/models/ring.pml: NO_RETRY). */
	*look_again_ns = now + (g->session->refused && g->session->reading == 0 ? RETRY_NS : FST3FS_GLANCE_NS);
	for (struct fst3fs_call *c = g->active; c; c = c->next) {
		uint64_t since = now - c->progress_ns;

		if (c->busy == 0 && c->opening == 0 && g->session->reading + g->session->copying > 0) {
			c->progress_ns = now; /* others hold the slots: their bound is the one that counts */
			continue;
		}
		if (since >= bound) {
			time_out(g, c);
			return true;
		}
		if (since >= DOUBT_NS && g->session->reading > g->session->reading_posix && peer_gone(g, c))
			return true;
		if (bound - since < *look_again_ns - now)
			*look_again_ns = now + bound - since;
	}
	return false;
}

void fst3fs_check_grace(struct fst3fs_engine *g)
{
	for (struct fst3fs_call *c = g->active; c; c = c->next) {
		if (c->interrupted_ns && fst3fs_now_ns() - c->interrupted_ns >= GRACE_NS) {
			fst3fs_give_up(g, c, c->err);
			return;
		}
	}
}

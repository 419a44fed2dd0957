/* SPDX-License-Identifier: Apache-2.0 */
/* A session for the engine: its first, and one after each that was released, given up, or died with its mount. */
#include <errno.h>
#include <stdlib.h>

#include "offload.h"

/* The making of one. */
struct making {
	struct fst3fs_offload offload;
	struct fst3fs_session *session;
};

static void make(struct fst3fs_offload *a)
{
	const struct fst3fs_engine *g = a->engine;
	const struct fst3fs_session_config config = {
		.main = g->main,
		.mount_point = g->mount_point,
		.sdk_path = g->sdk_path,
		.layout = g->layout,
		.timeout_ms = g->timeout_ms,
		.populator = g->populator,
	};

	a->rc = fst3fs_session_new(&config, &((struct making *)a)->session, &a->err);
}

/* Modelled in tests/models/session.pml (NOT_UNDONE). */
static void unmake(struct fst3fs_offload *a)
{
	struct fst3fs_session *s = ((struct making *)a)->session;

	if (s)
		fst3fs_session_free(s, false, 0);
	free(a);
}

int fst3fs_engine_session_new(struct fst3fs_engine *g, struct fst3fs_session **out, struct fst3fs_error *err)
{
	struct making *m = calloc(1, sizeof(*m));
	struct fst3fs_offload *a;
	int rc;

	if (!m)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a reader");
	a = &m->offload;
	m->offload.run = make;
	m->offload.undo = unmake;
	rc = fst3fs_offload_run(g, &a, err);
	if (rc == 0)
		*out = m->session;
	if (a)
		free(m);
	if (rc < 0)
		fst3fs_err_set_path(err, g->mount_point);
	return rc;
}

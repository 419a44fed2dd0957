/* SPDX-License-Identifier: Apache-2.0 */
/* A call through the engine, again where its mount was replaced, and what there is to say about it. */
#include "reader_i.h"

/* Ends a session whose mount was replaced, unless another call has done so. */
static int end_stale_session(struct fst3fs_reader *r, struct fst3fs_call *c)
{
	struct fst3fs_session *s;
	int rc = fst3fs_engine_pause(&r->engine, true, &s);

	if (rc < 0)
		return rc;
	if (s)
		fst3fs_session_free(s, false, 0);
	fst3fs_engine_resume(&r->engine);
	c->renewed |= s != NULL;
	return 0;
}

/* Its caller was, or another thread cancels it. With `rewind` it is readied to be run again unless that has happened.
 */
static bool is_interrupted(struct fst3fs_reader *r, struct fst3fs_call *c, bool rewind)
{
	bool interrupted;

	pthread_mutex_lock(&r->engine.lock);
	interrupted = c->interrupted_ns != 0;
	if (rewind && !interrupted)
		fst3fs_call_rewind(c);
	pthread_mutex_unlock(&r->engine.lock);
	return interrupted;
}

/* Modelled in tests/models/drive.pml and tests/models/stream.pml (RUN_AGAIN_FOR_EVER). */
int fst3fs_reader_run(struct fst3fs_reader *r, struct fst3fs_call *c)
{
	int rc = fst3fs_engine_run(&r->engine, c);

	if (!c->stale || c->given_up || is_interrupted(r, c, false) || end_stale_session(r, c) < 0 ||
	    is_interrupted(r, c, true))
		return rc;
	return fst3fs_engine_run(&r->engine, c);
}

static void log_outcome(struct fst3fs_reader *r, const struct fst3fs_call *c)
{
	bool say;

	pthread_mutex_lock(&r->engine.lock);
	say = c->off_mount && !r->said_off_mount;
	r->said_off_mount |= say;
	pthread_mutex_unlock(&r->engine.lock);
	if (say)
		fst3fs_log(&r->engine.log, FST3FS_LOG_INFO,
			   "reader: %.1024s is not on the 3FS mount %.512s: read through the operating system",
			   c->off_mount, r->engine.mount_point);
	if (c->renewed)
		fst3fs_log(&r->engine.log, FST3FS_LOG_WARNING, "reader: the mount %s was replaced; registered anew",
			   r->engine.mount_point);
	if (c->given_up)
		fst3fs_log(&r->engine.log, FST3FS_LOG_WARNING, "reader: %.256s: %s", c->err->path, c->err->text);
}

/* What a callback has asked for while the call ran. */
static void release_if_asked(struct fst3fs_reader *r)
{
	bool asked;

	pthread_mutex_lock(&r->engine.lock);
	asked = r->release_asked && !fst3fs_engine_inside(&r->engine);
	if (asked)
		r->release_asked = false;
	pthread_mutex_unlock(&r->engine.lock);
	if (asked)
		fst3fs_release(r);
}

/* What devices have to say is collected under the lock and said without it. */
static void log_remarks(struct fst3fs_reader *r)
{
	char line[1024];
	int level;

	do {
		pthread_mutex_lock(&r->engine.lock);
		level = r->engine.session ? fst3fs_session_remark(r->engine.session, line, sizeof(line)) : 0;
		pthread_mutex_unlock(&r->engine.lock);
		if (level)
			fst3fs_log(&r->engine.log, level, "reader: %s", line);
	} while (level);
}

void fst3fs_reader_tell(struct fst3fs_reader *r, const struct fst3fs_call *c)
{
	fst3fs_trace_flush(r->engine.trace);
	log_outcome(r, c);
	log_remarks(r);
	release_if_asked(r);
}

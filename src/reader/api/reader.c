/* SPDX-License-Identifier: Apache-2.0 */
/* The public face: settings, checks of arguments, life and end of a reader. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reader_i.h"
#include "transport_choice.h"
#include "usrbio.h"

#define DEFAULT_ENTRIES 64
#define DEFAULT_BUFFER (64ull << 20)
#define DEFAULT_TIMEOUT_MS 90000u
/* How long an orderly end waits for the mount before it leaves the rest to a thread. */
#define END_NS (5 * FST3FS_NS_PER_S)

const char *fst3fs_version(void)
{
	return FST3FS_VERSION;
}

int fst3fs_mount_point(const char *path, char *buf, size_t size)
{
	return usrbio_mount_of(path, buf, size);
}

void fst3fs_options_init(struct fst3fs_options *o)
{
	*o = (struct fst3fs_options){
		.size = sizeof(*o),
		.entries = DEFAULT_ENTRIES,
		.buffer_size = DEFAULT_BUFFER,
		.timeout_ms = DEFAULT_TIMEOUT_MS,
		.populate = true,
		.log_level = FST3FS_LOG_INFO,
	};
}

int fst3fs_reader_refuse(struct fst3fs_error *err, const char *what, int64_t value, const char *rule)
{
	return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "%s is %" PRId64 ", %s", what, value, rule);
}

/* ------------------------------------------------------------------ making one */

static int check_options(const struct fst3fs_options *o, struct fst3fs_error *err)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	if (o->size != sizeof(*o))
		return fst3fs_reader_refuse(err, "size of the options", (int64_t)o->size,
					    "not this library's: see fst3fs_options_init");
	if (o->entries < 1)
		return fst3fs_reader_refuse(err, "entries", o->entries, "must be at least 1");
	if (o->buffer_size == 0 || o->buffer_size > ram)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "buffer_size is %" PRIu64 ", must be between 1 and this machine's %" PRIu64,
					   o->buffer_size, ram);
	if (o->timeout_ms == 0)
		return fst3fs_reader_refuse(err, "timeout_ms", 0, "must be at least 1");
	return 0;
}

static void log_way(struct fst3fs_reader *r)
{
	struct fst3fs_io *io = r->engine.session->main ? r->engine.session->main : r->engine.session->posix;
	const char *client = io->ops->client(io);

	fst3fs_log(&r->engine.log, FST3FS_LOG_INFO,
		   "reader: transport=%s%s%s%s mount=%s buffer=%" PRIu64 " piece=%" PRIu64 " window=%u%s%s",
		   io->ops->name, client[0] ? " client=" : "", client, r->engine.require_usrbio ? " (required)" : "",
		   r->engine.mount_point[0] ? r->engine.mount_point : "-", r->buffer_size, r->engine.layout.piece,
		   r->engine.layout.window, r->why_not[0] ? "; nothing better because " : "", r->why_not);
}

static void reader_free(struct fst3fs_engine *engine)
{
	struct fst3fs_reader *r = (struct fst3fs_reader *)engine;

	if (r->memory_io)
		r->memory_io->ops->close(r->memory_io, false, fst3fs_now_ns() + END_NS);
	fst3fs_waker_fini(&r->memory_waker);
	pthread_mutex_destroy(&r->memory_lock);
	fst3fs_engine_fini(engine);
	free(r);
}

static struct fst3fs_reader *reader_new(const struct fst3fs_options *o, const struct fst3fs_io_ops *main,
					const char *mount_point)
{
	struct fst3fs_reader *r = calloc(1, sizeof(*r));

	if (!r || !fst3fs_engine_init(&r->engine, o, main, mount_point, reader_free)) {
		free(r);
		return NULL;
	}
	pthread_mutex_init(&r->memory_lock, NULL);
	fst3fs_waker_init(&r->memory_waker);
	r->pid = getpid();
	r->buffer_size = o->buffer_size;
	r->page_locked = -1;
	return r;
}

int fst3fs_reader_open_with(const struct fst3fs_options *o, const struct fst3fs_io_ops *main, const char *mount_point,
			    struct fst3fs_reader **out, struct fst3fs_error *err)
{
	struct fst3fs_reader *r = reader_new(o, main, mount_point);
	int rc;

	if (!r)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a reader");
	rc = o->trace && o->trace[0] ? fst3fs_trace_open(o->trace, &r->engine.trace, err) : 0;
	if (rc == 0)
		rc = fst3fs_engine_session_new(&r->engine, &r->engine.session, err);
	if (rc < 0) {
		fst3fs_engine_unref(&r->engine);
		return rc;
	}
	*out = r;
	return 0;
}

int fst3fs_open(const struct fst3fs_options *o, struct fst3fs_reader **out, struct fst3fs_error *err)
{
	struct fst3fs_way way;
	int rc;

	fst3fs_err_reset(err);
	rc = check_options(o, err);
	if (rc == 0)
		rc = fst3fs_way_choose(o, &way, err);
	if (rc == 0)
		rc = fst3fs_reader_open_with(o, way.main, way.mount, out, err);
	if (rc < 0)
		return rc;
	memcpy((*out)->why_not, way.why_not, sizeof(way.why_not));
	log_way(*out);
	return 0;
}

/* ------------------------------------------------------------------ ending one */

/* Modelled in tests/models/drive.pml and tests/models/session.pml. */
void fst3fs_release(struct fst3fs_reader *r)
{
	uint64_t deadline = fst3fs_now_ns() + END_NS;
	struct fst3fs_session *s;

	if (r->pid != getpid())
		return;
	if (fst3fs_engine_inside(&r->engine)) {
		pthread_mutex_lock(&r->engine.lock);
		r->release_asked = true;
		pthread_mutex_unlock(&r->engine.lock);
		return;
	}
	if (fst3fs_engine_pause(&r->engine, false, &s) < 0)
		return;
	/* Nothing is in flight, so the files may be closed before or after; the ring's inodes are no longer needed. */
	fst3fs_files_drop(r->engine.files, deadline);
	if (s)
		fst3fs_session_free(s, false, deadline);
	fst3fs_engine_resume(&r->engine);
}

void fst3fs_close(struct fst3fs_reader *r)
{
	if (!r)
		return;
	/* In a child after fork() locks may be held by threads that do not exist there: leave everything to the exit.
	 */
	if (r->pid != getpid())
		return;
	fst3fs_release(r);
	fst3fs_engine_unref(&r->engine);
}

bool fst3fs_has_file(struct fst3fs_reader *r, const char *path)
{
	return r->pid == getpid() && fst3fs_files_has(r->engine.files, path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The public face: settings, checks of arguments, life and end of a reader. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "away.h"
#include "choose.h"
#include "engine.h"
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

bool fst3fs_reader_asks_to_stop(const struct fst3fs_reader *r)
{
	return r->interrupted && r->interrupted(r->interrupted_ctx) != 0;
}

/* The making of a session. */
struct making {
	struct fst3fs_away away;
	struct fst3fs_session *session;
};

static void make(struct fst3fs_away *a)
{
	const struct fst3fs_reader *r = a->reader;
	const struct fst3fs_session_config config = {
		.main = r->main,
		.mount_point = r->mount_point,
		.sdk_path = r->sdk_path,
		.layout = r->layout,
		.timeout_ms = r->timeout_ms,
	};

	a->rc = fst3fs_session_new(&config, &((struct making *)a)->session, &a->err);
}

static void unmake(struct fst3fs_away *a)
{
	struct fst3fs_session *s = ((struct making *)a)->session;

	if (s)
		fst3fs_session_free(s, false, 0);
	free(a);
}

int fst3fs_reader_session_new(struct fst3fs_reader *r, struct fst3fs_session **out, struct fst3fs_error *err)
{
	struct making *m = calloc(1, sizeof(*m));
	struct fst3fs_away *a = &m->away;
	int rc;

	if (!m)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a reader");
	m->away.run = make;
	m->away.undo = unmake;
	rc = fst3fs_away_run(r, &a, err);
	if (rc == 0)
		*out = m->session;
	if (a)
		free(m);
	if (rc < 0)
		fst3fs_err_set_path(err, r->mount_point);
	return rc;
}

static void log_way(struct fst3fs_reader *r)
{
	struct fst3fs_io *io = r->session->main ? r->session->main : r->session->posix;
	const char *client = io->ops->client(io);

	fst3fs_log(&r->log, FST3FS_LOG_INFO,
		   "reader: transport=%s%s%s%s mount=%s buffer=%" PRIu64 " piece=%" PRIu64 " window=%u%s%s",
		   io->ops->name, client[0] ? " client=" : "", client, r->require_usrbio ? " (required)" : "",
		   r->mount_point[0] ? r->mount_point : "-", r->buffer_size, r->layout.piece, r->layout.window,
		   r->why_not[0] ? "; nothing better because " : "", r->why_not);
}

static void reader_free(struct fst3fs_reader *r)
{
	if (r->memory_io)
		r->memory_io->ops->close(r->memory_io, false, fst3fs_now_ns() + END_NS);
	fst3fs_pool_leave(r->openers, 0);
	fst3fs_files_free(r->files);
	fst3fs_waker_fini(&r->memory_waker);
	pthread_mutex_destroy(&r->memory_lock);
	pthread_cond_destroy(&r->idle);
	pthread_mutex_destroy(&r->lock);
	free(r->mount_point);
	free(r->sdk_path);
	free(r);
}

static struct fst3fs_reader *reader_new(const struct fst3fs_options *o, const struct fst3fs_io_ops *main,
					const char *mount_point)
{
	struct fst3fs_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->memory_lock, NULL);
	pthread_cond_init(&r->idle, NULL);
	fst3fs_waker_init(&r->memory_waker);
	r->refs = 1;
	r->pid = getpid();
	r->log = (struct fst3fs_log){.fn = o->log, .ctx = o->log_ctx, .level = o->log_level};
	r->interrupted = o->interrupted;
	r->interrupted_ctx = o->interrupted_ctx;
	r->buffer_size = o->buffer_size;
	r->timeout_ms = o->timeout_ms;
	r->require_usrbio = o->require_usrbio;
	r->main = main;
	r->layout = fst3fs_layout_choose(o->buffer_size, (uint32_t)o->entries);
	r->page_locked = -1;
	r->mount_point = strdup(mount_point);
	r->sdk_path = strdup(o->sdk_path ? o->sdk_path : "");
	r->files = fst3fs_files_new(main, r->sdk_path);
	r->openers = fst3fs_pool_new("fst3fs-open", 16);
	if (r->mount_point && r->sdk_path && r->files && r->openers)
		return r;
	reader_free(r);
	return NULL;
}

int fst3fs_reader_open_with(const struct fst3fs_options *o, const struct fst3fs_io_ops *main, const char *mount_point,
			    struct fst3fs_reader **out, struct fst3fs_error *err)
{
	struct fst3fs_reader *r = reader_new(o, main, mount_point);
	int rc;

	if (!r)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a reader");
	rc = fst3fs_reader_session_new(r, &r->session, err);
	if (rc < 0) {
		fst3fs_reader_unref(r);
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

void fst3fs_reader_unref(struct fst3fs_reader *r)
{
	bool last;

	pthread_mutex_lock(&r->lock);
	last = --r->refs == 0;
	pthread_mutex_unlock(&r->lock);
	if (last)
		reader_free(r);
}

int fst3fs_reader_check(const struct fst3fs_reader *r, struct fst3fs_error *err)
{
	if (r->pid == getpid())
		return 0;
	return fst3fs_err_set_kind(
		err, FST3FS_ERROR_STATE, -ECHILD,
		"this reader belongs to process %d, which forked: make a reader of its own in the child", (int)r->pid);
}

void fst3fs_release(struct fst3fs_reader *r)
{
	uint64_t deadline = fst3fs_now_ns() + END_NS;
	struct fst3fs_session *s;

	if (r->pid != getpid())
		return;
	if (fst3fs_engine_inside(r)) {
		pthread_mutex_lock(&r->lock);
		r->release_asked = true;
		pthread_mutex_unlock(&r->lock);
		return;
	}
	if (fst3fs_engine_pause(r, false, &s) < 0)
		return;
	/* Nothing is in flight, so the files may be closed before or after; the ring's inodes are no longer needed. */
	fst3fs_files_drop(r->files, deadline);
	if (s)
		fst3fs_session_free(s, false, deadline);
	fst3fs_engine_resume(r);
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
	fst3fs_reader_unref(r);
}

bool fst3fs_has_file(struct fst3fs_reader *r, const char *path)
{
	return r->pid == getpid() && fst3fs_files_has(r->files, path);
}

/* ------------------------------------------------------------------ what is in use */

static void info_session(struct fst3fs_reader *r, struct fst3fs_info *info)
{
	struct fst3fs_session *s = r->session;
	struct fst3fs_io *io = s->main ? s->main : s->posix;

	snprintf(info->client, sizeof(info->client), "%s", io->ops->client(io));
	info->iov_base = s->staging->base;
	info->iov_length = s->staging->size;
	for (unsigned i = 0; i < s->ndevs; i++) {
		int locked = s->devs[i]->ops->page_locked(s->devs[i]);

		r->page_locked = locked > r->page_locked ? locked : r->page_locked;
	}
}

int fst3fs_get_info(struct fst3fs_reader *r, struct fst3fs_info *info)
{
	if (info->size != sizeof(*info))
		return -EINVAL;
	*info = (struct fst3fs_info){
		.size = sizeof(*info),
		.buffer_size = r->buffer_size,
		.piece_size = r->layout.piece,
		.window = r->layout.window,
	};
	snprintf(info->transport, sizeof(info->transport), "%s", r->main ? r->main->name : fst3fs_io_posix.name);
	snprintf(info->why_not, sizeof(info->why_not), "%s", r->why_not);
	if (r->pid != getpid())
		return -ECHILD;
	info->open_files = fst3fs_files_count(r->files);
	pthread_mutex_lock(&r->lock);
	if (r->session)
		info_session(r, info);
	memcpy(info->devices, r->devices, sizeof(info->devices));
	info->page_locked = r->page_locked;
	info->reads = r->count.reads;
	info->requests = r->count.requests;
	info->bytes = r->count.bytes;
	info->bytes_posix = r->count.bytes_posix;
	info->bytes_direct = r->count.bytes_direct;
	info->io_wait_ns = r->count.io_wait_ns;
	info->copy_wait_ns = r->count.copy_wait_ns;
	info->given_up = r->count.given_up;
	pthread_mutex_unlock(&r->lock);
	return 0;
}

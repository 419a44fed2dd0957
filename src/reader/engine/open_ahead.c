/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files are opened on threads of the reader's own, ahead of the requests: opening costs several round trips to a
 * metadata server, many can be under way at once, and one that hangs in the kernel does not take the caller with it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "engine_i.h"

/* Openings under way at a time for one call. */
#define OPENING_MAX 16

struct open_job {
	struct fst3fs_task task;
	struct fst3fs_engine *engine; /* a reference */
	struct fst3fs_entry *entry;   /* NULL once the call has ended without it; under the reader's lock */
	dev_t mount_dev;	      /* of the session that wants the file; 0 without a transport of its own */
	char path[];
};

/* Is this file on the mount that now stands where the session's stood? Then the session's is gone. */
static bool mount_replaced(const struct open_job *job, const struct fst3fs_file *file)
{
	struct stat st;

	return job->mount_dev && file->dev != job->mount_dev && stat(job->engine->mount_point, &st) == 0 &&
	       st.st_dev == file->dev;
}

static int choose_transport(struct fst3fs_engine *g, struct fst3fs_entry *e, struct fst3fs_error *err)
{
	struct fst3fs_session *s = g->session;

	if (s->main && e->file->dev == s->mount_dev) {
		e->io = s->main;
		return 0;
	}
	if (g->require_usrbio)
		return fst3fs_err_set(err, -ENOTSUP, "not on the 3FS mount %s, and reading otherwise is ruled out",
				      g->mount_point[0] ? g->mount_point : "(none)");
	e->io = s->posix;
	g->count.fallbacks += s->main != NULL;
	if (s->main && !e->call->off_mount)
		e->call->off_mount = e->path;
	return 0;
}

/* The region that the destination lies in, when the transport can read into it without a copy: its own kind; the
 * operating system reads into any. */
static int choose_direct(struct fst3fs_engine *g, struct fst3fs_entry *e, struct fst3fs_error *err)
{
	struct fst3fs_region *region = e->area ? e->area->region : NULL;
	enum fst3fs_inside expected = e->call->own_buffer ? FST3FS_INSIDE : FST3FS_OUTSIDE;

	/* The call was let in by where the buffer lay when it began. */
	for (size_t i = 0; i < e->nsegments; i++) {
		const struct fst3fs_segment *seg = &e->segments[i];

		if (!seg->dst || fst3fs_inside(g->session->staging, seg->dst, seg->length) == expected)
			continue;
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "the destination lies in a buffer of the reader that was replaced: ask for "
					   "its address again");
	}
	if (e->call->own_buffer)
		region = g->session->staging;
	/* A new daemon at the place of the old one does not know memory that the old one knew. */
	if (region && e->area && e->io == g->session->main && e->area->mount_dev != g->session->mount_dev)
		return 0;
	if (region && (e->io->ops == &fst3fs_io_posix || e->io->ops == region->ops))
		e->region = region;
	return 0;
}

static void note_device(struct fst3fs_engine *g, const char *name)
{
	size_t used = strlen(g->devices);
	char *at = strstr(g->devices, name);

	/* A name ends where the string or a comma is: "cuda:1" is not found in "cuda:10". */
	while (at && at[strlen(name)] != '\0' && at[strlen(name)] != ',')
		at = strstr(at + 1, name);
	if (!at)
		snprintf(g->devices + used, sizeof(g->devices) - used, "%s%s", used ? "," : "", name);
}

/* Whose memory a destination is; all of a range's belong to one device. */
static int find_device(struct fst3fs_engine *g, struct fst3fs_entry *e, uint64_t dst, struct fst3fs_error *err)
{
	struct fst3fs_dev *dev;
	int rc = fst3fs_session_device(g->session, dst, &dev, err);

	if (rc < 0)
		return rc;
	if (e->dev && e->dev != dev)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "destinations on %s and on %s: what is read together goes to one device",
					   e->dev->name, dev->name);
	if (!e->dev && dev->ops->begin)
		rc = dev->ops->begin(dev, dst, err);
	e->dev = dev;
	return rc;
}

static int choose_device(struct fst3fs_engine *g, struct fst3fs_entry *e, struct fst3fs_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < e->nsegments && rc == 0 && !e->region; i++)
		if (e->segments[i].dst)
			rc = find_device(g, e, e->segments[i].dst, err);
	if (rc == 0 && e->dev)
		note_device(g, e->dev->name);
	return rc;
}

static int make_ready(struct fst3fs_engine *g, struct fst3fs_entry *e, struct fst3fs_error *err)
{
	uint64_t size = __atomic_load_n(&e->file->size, __ATOMIC_RELAXED);
	bool whole = e->offset <= size && e->length <= size - e->offset;
	int rc = 0;

	if (e->inode && e->inode != e->file->io.ino)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "another file has this name now than when its header was read");
	if (e->exact && !whole)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "truncated: the file has %" PRIu64 " bytes, and bytes up to %" PRIu64
					   " are wanted",
					   size, e->offset + e->length);
	rc = choose_transport(g, e, err);

	if (rc == 0)
		rc = choose_direct(g, e, err);
	if (rc == 0)
		rc = choose_device(g, e, err);
	if (rc < 0)
		return rc;
	e->next = e->looked = e->offset;
	e->end = whole ? e->offset + e->length : e->offset < size ? size : e->offset;
	return 0;
}

/* Under the lock: hands the outcome to the range that waits for it. Modelled in tests/models/drive.pml
 * (NO_POST_ON_OPEN) and tests/models/session.pml (OPENING_NOT_FORGOTTEN). */
static void publish(struct open_job *job, struct fst3fs_file *file, bool replaced, struct fst3fs_error *err)
{
	struct fst3fs_engine *g = job->engine;
	struct fst3fs_entry *e = job->entry;

	e->opener = NULL;
	e->state = FST3FS_ENTRY_READY;
	e->file = file;
	e->call->opening--;
	e->call->progress_ns = fst3fs_now_ns();
	if (replaced) {
		g->stale = e->call->stale = true;
		fst3fs_err_set(err, -ESTALE, "the mount was replaced under the reader");
	} else if (file) {
		make_ready(g, e, err);
	}
	if (err->code)
		fst3fs_entry_fail(g, e, err);
	else
		fst3fs_entry_settle(g, e);
	fst3fs_waker_post(&g->session->waker);
}

static void open_run(struct fst3fs_task *task)
{
	struct open_job *job = (struct open_job *)task;
	struct fst3fs_engine *g = job->engine;
	struct fst3fs_file *file = NULL;
	struct fst3fs_error err;
	uint64_t before = fst3fs_now_ns();
	bool replaced = false, wanted;

	fst3fs_err_reset(&err);
	if (fst3fs_files_get(g->files, job->path, &file, &err) == 0)
		replaced = mount_replaced(job, file);
	fst3fs_trace_span(g->trace, FST3FS_TRACE_OPENS, FST3FS_TRACE_OPEN, before, fst3fs_now_ns(), 0, 0);
	pthread_mutex_lock(&g->lock);
	wanted = job->entry != NULL;
	if (wanted)
		publish(job, file, replaced, &err);
	pthread_mutex_unlock(&g->lock);
	if (!wanted && file)
		fst3fs_files_put(g->files, file);
	free(job);
	fst3fs_engine_unref(g);
}

static int start_job(struct fst3fs_engine *g, struct fst3fs_entry *e)
{
	size_t bytes = strlen(e->path) + 1;
	struct open_job *job = malloc(sizeof(*job) + bytes);
	int rc;

	if (!job)
		return -ENOMEM;
	job->task.run = open_run;
	job->engine = g;
	job->entry = e;
	job->mount_dev = g->session->main ? g->session->mount_dev : 0;
	memcpy(job->path, e->path, bytes);
	rc = fst3fs_pool_run(g->openers, &job->task);
	if (rc < 0) {
		free(job);
		return rc;
	}
	g->refs++;
	e->opener = &job->entry;
	e->state = FST3FS_ENTRY_OPENING;
	e->call->opening++;
	return 0;
}

bool fst3fs_open_ahead(struct fst3fs_engine *g, struct fst3fs_call *c)
{
	bool moved = false;

	while (c->opened < c->count && c->opening < OPENING_MAX && c->opened < c->cursor + FST3FS_CALL_AHEAD) {
		struct fst3fs_entry *e = c->entries[c->opened++];
		int rc = e->state == FST3FS_ENTRY_NEW ? start_job(g, e) : 0;

		if (rc < 0) {
			struct fst3fs_error err;

			fst3fs_err_reset(&err);
			fst3fs_err_set(&err, rc, "cannot start a thread to open files: %s", fst3fs_strerror(rc));
			fst3fs_entry_fail(g, e, &err);
		}
		moved = true;
	}
	return moved;
}

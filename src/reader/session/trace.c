/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Kept between two times that the file is written: 2.5 MB. */
#define ROOM 65536
/* Spans of a trace in all, about 40 MB of file; what comes later is counted. */
#define MOST 400000
#define ROWS_NAMED 512

struct span {
	uint64_t begin_ns, end_ns, offset, bytes;
	uint32_t row, kind;
};

struct fst3fs_trace {
	pthread_mutex_t lock; /* of the spans */
	struct span *spans;
	size_t count;
	uint64_t total, dropped;

	pthread_mutex_t file_lock; /* of the file, and what follows */
	FILE *file;
	struct span *writing;
	bool named[ROWS_NAMED]; /* rows whose names the file has */
};

static const char *const names[FST3FS_TRACE_KINDS] = {
	[FST3FS_TRACE_READING] = "reading",
	[FST3FS_TRACE_LANDED] = "landed",
	[FST3FS_TRACE_COPYING] = "copying",
	[FST3FS_TRACE_OPEN] = "open",
	[FST3FS_TRACE_HEADER] = "headers",
	[FST3FS_TRACE_WAIT_IO] = "wait for I/O",
	[FST3FS_TRACE_WAIT_COPY] = "wait for copies",
	[FST3FS_TRACE_WAIT_SLOT] = "wait for a slot",
	[FST3FS_TRACE_WAIT_CONSUMER] = "wait for the consumer",
};

/* ------------------------------------------------------------------ life */

/* `path` with the process's number for "%p", and the number of this reader from the second on. From malloc. */
static char *file_name(const char *path)
{
	static atomic_uint readers;
	unsigned number = atomic_fetch_add(&readers, 1) + 1;
	const char *at = strstr(path, "%p");
	char *name = NULL, *numbered = NULL;

	if (at ? asprintf(&name, "%.*s%d%s", (int)(at - path), path, (int)getpid(), at + 2) < 0
	       : asprintf(&name, "%s", path) < 0)
		return NULL;
	if (number == 1)
		return name;
	if (asprintf(&numbered, "%s.%u", name, number) < 0)
		numbered = NULL;
	free(name);
	return numbered;
}

void fst3fs_trace_close(struct fst3fs_trace *t)
{
	if (!t)
		return;
	if (t->file) {
		fst3fs_trace_flush(t);
		if (t->dropped)
			fprintf(t->file,
				"{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_labels\",\"args\":{\"labels\":\"%" PRIu64
				" spans beyond the first %d are not here\"}},\n",
				(int)getpid(), t->dropped, MOST);
		fclose(t->file);
	}
	pthread_mutex_destroy(&t->file_lock);
	pthread_mutex_destroy(&t->lock);
	free(t->writing);
	free(t->spans);
	free(t);
}

int fst3fs_trace_open(const char *path, struct fst3fs_trace **out, struct fst3fs_error *err)
{
	struct fst3fs_trace *t = calloc(1, sizeof(*t));
	char *name = file_name(path);
	int rc = -ENOMEM;

	if (t) {
		pthread_mutex_init(&t->lock, NULL);
		pthread_mutex_init(&t->file_lock, NULL);
		t->spans = calloc(ROOM, sizeof(*t->spans));
		t->writing = calloc(ROOM, sizeof(*t->writing));
	}
	if (t && name && t->spans && t->writing) {
		t->file = fopen(name, "we");
		rc = t->file ? 0 : -errno;
	}
	if (rc < 0) {
		fst3fs_err_set(err, rc, "trace: %s", fst3fs_strerror(rc));
		fst3fs_err_set_path(err, name ? name : path);
		fst3fs_trace_close(t);
	} else {
		fprintf(t->file, "[\n");
		fflush(t->file); /* a child after fork has a copy of what is not written yet, and writes it at its exit
				  */
		*out = t;
	}
	free(name);
	return rc;
}

/* ------------------------------------------------------------------ spans */

void fst3fs_trace_span(struct fst3fs_trace *t, unsigned row, enum fst3fs_trace_kind kind, uint64_t begin_ns,
		       uint64_t end_ns, uint64_t offset, uint64_t bytes)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	if (t->count < ROOM && t->total < MOST) {
		t->spans[t->count++] = (struct span){begin_ns, end_ns, offset, bytes, row, (uint32_t)kind};
		t->total++;
	} else {
		t->dropped++;
	}
	pthread_mutex_unlock(&t->lock);
}

static void write_row_name(struct fst3fs_trace *t, unsigned row)
{
	static const char *const rows[] = {
		[FST3FS_TRACE_WAITS] = "waits", [FST3FS_TRACE_OPENS] = "opens", [FST3FS_TRACE_HEADERS] = "headers"};

	if (row >= ROWS_NAMED || t->named[row])
		return;
	t->named[row] = true;
	fprintf(t->file, "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"thread_name\",\"args\":{\"name\":\"",
		(int)getpid(), row);
	if (row < FST3FS_TRACE_SLOTS)
		fprintf(t->file, "%s\"}},\n", rows[row]);
	else
		fprintf(t->file, "slot %u\"}},\n", row - FST3FS_TRACE_SLOTS);
}

static void write_span(struct fst3fs_trace *t, const struct span *s)
{
	write_row_name(t, s->row);
	/* Microseconds, with the digits of nanoseconds. */
	fprintf(t->file,
		"{\"ph\":\"X\",\"pid\":%d,\"tid\":%u,\"name\":\"%s\",\"ts\":%" PRIu64 ".%03u,\"dur\":%" PRIu64 ".%03u",
		(int)getpid(), s->row, names[s->kind], s->begin_ns / 1000, (unsigned)(s->begin_ns % 1000),
		(s->end_ns - s->begin_ns) / 1000, (unsigned)((s->end_ns - s->begin_ns) % 1000));
	if (s->bytes)
		fprintf(t->file, ",\"args\":{\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", s->offset, s->bytes);
	fprintf(t->file, "},\n");
}

void fst3fs_trace_flush(struct fst3fs_trace *t)
{
	struct span *spans;
	size_t count;

	if (!t)
		return;
	pthread_mutex_lock(&t->file_lock);
	pthread_mutex_lock(&t->lock);
	spans = t->spans;
	count = t->count;
	t->spans = t->writing;
	t->writing = spans;
	t->count = 0;
	pthread_mutex_unlock(&t->lock);
	for (size_t i = 0; i < count; i++)
		write_span(t, &spans[i]);
	fflush(t->file);
	pthread_mutex_unlock(&t->file_lock);
}

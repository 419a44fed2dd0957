/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of many files, several at a time, through the operating system: one open and one read for each. The read is a
 * guess that holds the length and, for all but very long headers, the JSON as well. Where tables of tensors are wanted,
 * they are made of those that are there while others are being waited for.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_i.h"
#include "clock.h"
#include "pread.h"
#include "reader_i.h"

/* Published models have headers of 1 to 60 KB. The kernel reads ahead as much again, so that the second read of a
 * somewhat longer one costs no round trip either. */
#define GUESS_BYTES (64u << 10)
/* A thread spends its time waiting for round trips to a metadata server, as many of which can be under way for an open
 * ahead of a read (open_ahead.c). */
#define THREADS_MIN 16

/* One call, shared by its threads. Lives until the last of them has let go. */
struct batch {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct fst3fs_reader *reader; /* a reference */
	char **paths;		      /* copies: a thread that hangs may outlive the call */
	struct fst3fs_header *headers;
	struct safetensors_table **tables; /* instead of the headers' JSON; NULL = it is wanted */
	bool *is_done;			   /* of each */
	size_t count, next, done;
	unsigned refs;
	size_t err_index;
	struct fst3fs_error err;
};

/* One thread's part in a batch. */
struct worker {
	struct fst3fs_task task;
	struct batch *batch; /* a reference */
	uint8_t guess[GUESS_BYTES];
};

/* ------------------------------------------------------------------ one file */

/* The JSON, of which `have` bytes are there in `guess`, and the rest of it, if any, in the file behind them. */
static int complete(int fd, char *json, size_t bytes, const uint8_t *guess, size_t have, struct fst3fs_error *err)
{
	size_t known = have < bytes ? have : bytes;
	int64_t n;

	memcpy(json, guess, known);
	json[bytes] = '\0';
	n = fst3fs_pread_fully(fd, json + known, bytes - known, SAFETENSORS_PREFIX_BYTES + known);
	if (n < 0)
		return fst3fs_err_set(err, (int)n, "reading the header: %s", fst3fs_strerror((int)n));
	if ((size_t)n < bytes - known)
		return fst3fs_err_set(err, -EIO, "short read inside the header: %zu of %zu bytes", known + (size_t)n,
				      bytes);
	return safetensors_check_json((const uint8_t *)json, bytes, err);
}

/* `guess` has room for GUESS_BYTES. */
static int read_header(const struct fst3fs_file *file, uint8_t *guess, struct fst3fs_header *out,
		       struct fst3fs_error *err)
{
	uint64_t size = __atomic_load_n(&file->size, __ATOMIC_RELAXED), bytes = 0;
	/* One pread as a rule: it is asked again only when it came back short. */
	int64_t have = fst3fs_pread_fully(file->io.fd, guess, size < GUESS_BYTES ? (size_t)size : GUESS_BYTES, 0);
	char *json;
	int rc;

	if (have < 0)
		return fst3fs_err_set(err, (int)have, "reading the header: %s", fst3fs_strerror((int)have));
	rc = safetensors_check_prefix(guess, (size_t)have, size, &bytes, err);
	if (rc < 0)
		return rc;
	json = malloc((size_t)bytes + 1);
	if (!json)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a header of %zu bytes", (size_t)bytes);
	rc = complete(file->io.fd, json, (size_t)bytes, guess + SAFETENSORS_PREFIX_BYTES,
		      (size_t)have - SAFETENSORS_PREFIX_BYTES, err);
	if (rc < 0) {
		free(json);
		return rc;
	}
	*out = (struct fst3fs_header){
		.json = json, .length = SAFETENSORS_PREFIX_BYTES + bytes, .file_size = size, .inode = file->io.ino};
	return 0;
}

/* The table of a header, which needs its JSON no more. */
static int parse(struct fst3fs_header *h, struct safetensors_table **out, struct fst3fs_error *err)
{
	int rc = safetensors_table_parse(h->json, (size_t)(h->length - SAFETENSORS_PREFIX_BYTES), h->file_size, out,
					 err);

	fst3fs_headers_free(h, 1);
	return rc;
}

/* ------------------------------------------------------------------ the batch */

static void batch_unref(struct batch *b)
{
	bool last;

	pthread_mutex_lock(&b->lock);
	last = --b->refs == 0;
	pthread_mutex_unlock(&b->lock);
	if (!last)
		return;
	fst3fs_headers_free(b->headers, b->count);
	free(b->headers);
	for (size_t i = 0; b->tables && i < b->count; i++)
		safetensors_table_free(b->tables[i]);
	free(b->tables);
	free(b->is_done);
	for (size_t i = 0; i < b->count; i++)
		free(b->paths[i]);
	free(b->paths);
	fst3fs_engine_unref(&b->reader->engine);
	pthread_cond_destroy(&b->moved);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static void do_one(struct batch *b, size_t i, uint8_t *guess)
{
	struct fst3fs_header header = {0};
	struct safetensors_table *table = NULL;
	struct fst3fs_file *file;
	struct fst3fs_error err;
	int rc;

	fst3fs_err_reset(&err);
	rc = fst3fs_files_get(b->reader->engine.files, b->paths[i], &file, &err);
	if (rc == 0) {
		rc = read_header(file, guess, &header, &err);
		fst3fs_files_put(b->reader->engine.files, file);
	}
	if (rc == 0 && b->tables)
		rc = parse(&header, &table, &err);
	fst3fs_err_set_path(&err, b->paths[i]);
	pthread_mutex_lock(&b->lock);
	b->headers[i] = header;
	if (b->tables)
		b->tables[i] = table;
	b->is_done[i] = true;
	b->done++;
	if (rc < 0 && i < b->err_index) {
		b->err = err;
		b->err_index = i;
	}
	pthread_cond_signal(&b->moved);
	pthread_mutex_unlock(&b->lock);
}

static void batch_run(struct batch *b, uint8_t *guess)
{
	for (;;) {
		size_t i;

		pthread_mutex_lock(&b->lock);
		i = b->next < b->count ? b->next++ : b->count;
		pthread_mutex_unlock(&b->lock);
		if (i == b->count)
			return;
		do_one(b, i, guess);
	}
}

static void worker_run(struct fst3fs_task *task)
{
	struct worker *w = (struct worker *)task;

	batch_run(w->batch, w->guess);
	batch_unref(w->batch);
	free(w);
}

static int start_worker(struct fst3fs_pool *pool, struct batch *b)
{
	struct worker *w = malloc(sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	w->task.run = worker_run;
	w->batch = b;
	pthread_mutex_lock(&b->lock);
	b->refs++;
	pthread_mutex_unlock(&b->lock);
	rc = fst3fs_pool_run(pool, &w->task);
	if (rc < 0) {
		batch_unref(b);
		free(w);
	}
	return rc;
}

static struct batch *batch_new(struct fst3fs_reader *r, const char *const *paths, size_t n, bool wants_tables)
{
	struct batch *b = calloc(1, sizeof(*b));
	bool ok;

	if (!b)
		return NULL;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->moved, NULL);
	b->refs = 1;
	b->err_index = SIZE_MAX;
	b->count = n;
	b->headers = calloc(n, sizeof(*b->headers));
	b->tables = wants_tables ? calloc(n, sizeof(struct safetensors_table *)) : NULL;
	b->paths = calloc(n, sizeof(*b->paths));
	b->is_done = calloc(n, sizeof(*b->is_done));
	fst3fs_engine_ref(&r->engine);
	b->reader = r;
	ok = b->headers && b->paths && b->is_done && (b->tables || !wants_tables);
	b->count = ok ? n : 0;
	for (size_t i = 0; ok && i < n; i++)
		ok = (b->paths[i] = strdup(paths[i])) != NULL;
	if (ok)
		return b;
	batch_unref(b);
	return NULL;
}

/* Whose header has not come. Under the batch's lock. */
static const char *find_missing(const struct batch *b)
{
	size_t i = 0;

	while (i < b->count - 1 && b->is_done[i])
		i++;
	return b->paths[i];
}

/* Waits until every file is done; 0, or why it stopped waiting. Under the batch's lock. */
static int wait_for_all(struct batch *b, struct fst3fs_error *err)
{
	struct fst3fs_reader *r = b->reader;
	uint64_t progress_ns = fst3fs_now_ns(), glance_ns = progress_ns + FST3FS_GLANCE_NS;
	size_t seen = 0;

	while (b->done < b->count) {
		struct timespec ts = fst3fs_timespec(glance_ns);
		bool stop = false;

		pthread_cond_clockwait(&b->moved, &b->lock, CLOCK_MONOTONIC, &ts);
		if (fst3fs_now_ns() >= glance_ns) {
			pthread_mutex_unlock(&b->lock);
			stop = fst3fs_engine_asks_to_stop(&r->engine);
			pthread_mutex_lock(&b->lock);
			glance_ns = fst3fs_now_ns() + FST3FS_GLANCE_NS;
		}
		if (stop)
			return fst3fs_err_set(err, -EINTR, "interrupted");
		if (b->done != seen) {
			seen = b->done;
			progress_ns = fst3fs_now_ns();
		} else if (fst3fs_now_ns() - progress_ns >= r->engine.timeout_ms * FST3FS_NS_PER_MS) {
			fst3fs_err_set(err, -ETIMEDOUT, "%zu of %zu headers were read, then none for %u ms", b->done,
				       b->count, r->engine.timeout_ms);
			fst3fs_err_set_path(err, find_missing(b));
			return -ETIMEDOUT;
		}
	}
	return 0;
}

/* Makes what has come the caller's. Under the batch's lock. */
static void take(struct batch *b, struct fst3fs_header *headers, struct safetensors_table **tables)
{
	for (size_t i = 0; i < b->count; i++) {
		headers[i] = b->headers[i];
		b->headers[i].json = NULL;
		if (b->tables) {
			tables[i] = b->tables[i];
			b->tables[i] = NULL;
		}
	}
}

static int run_batch(struct batch *b, int num_threads, struct fst3fs_header *headers, struct safetensors_table **tables,
		     struct fst3fs_error *err)
{
	int threads = num_threads < THREADS_MIN ? THREADS_MIN : num_threads;
	struct fst3fs_pool *pool = fst3fs_pool_new("fst3fs-headers", threads);
	int rc = pool ? 0 : -ENOMEM, started = 0;

	while (rc == 0 && started < threads && (size_t)started < b->count) {
		rc = start_worker(pool, b);
		started += rc == 0;
	}
	rc = started > 0 ? 0 : fst3fs_err_set(err, rc, "cannot start a thread: %s", fst3fs_strerror(rc));
	pthread_mutex_lock(&b->lock);
	if (rc == 0)
		rc = wait_for_all(b, err);
	b->next = b->count; /* what has not begun will not */
	take(b, headers, tables);
	if (rc == 0 && b->err_index != SIZE_MAX) {
		rc = b->err.code;
		if (err) {
			*err = b->err;
			err->index = (int64_t)b->err_index;
		}
	}
	pthread_mutex_unlock(&b->lock);
	/* Threads that are done end at once; one that hangs ends by itself. */
	fst3fs_pool_leave(pool, rc == -ETIMEDOUT || rc == -EINTR ? 0 : fst3fs_now_ns() + FST3FS_NS_PER_S);
	return rc;
}

static int read_batch(struct fst3fs_reader *r, const char *const *paths, size_t n, int num_threads,
		      struct fst3fs_header *headers, struct safetensors_table **tables, struct fst3fs_error *err)
{
	struct batch *b;
	uint64_t before;
	int rc;

	memset(headers, 0, n * sizeof(*headers));
	fst3fs_err_reset(err);
	rc = fst3fs_reader_check(r, err);
	if (rc < 0 || n == 0)
		return rc;
	if (num_threads < 1)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "num_threads is %d, must be at least 1",
					   num_threads);
	b = batch_new(r, paths, n, tables);
	if (!b)
		return fst3fs_err_set(err, -ENOMEM, "no memory for %zu paths", n);
	before = fst3fs_now_ns();
	rc = run_batch(b, num_threads, headers, tables, err);
	fst3fs_trace_span(r->engine.trace, FST3FS_TRACE_HEADERS, FST3FS_TRACE_HEADER, before, fst3fs_now_ns(), 0, 0);
	batch_unref(b);
	return rc;
}

int fst3fs_read_headers(struct fst3fs_reader *r, const char *const *paths, size_t n, int num_threads,
			struct fst3fs_header *out, struct fst3fs_error *err)
{
	return read_batch(r, paths, n, num_threads, out, NULL, err);
}

int fst3fs_read_tables(struct fst3fs_reader *r, const char *const *paths, size_t n, struct fst3fs_header *headers,
		       struct safetensors_table **tables, struct fst3fs_error *err)
{
	return read_batch(r, paths, n, THREADS_MIN, headers, tables, err);
}

void fst3fs_headers_free(struct fst3fs_header *headers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(headers[i].json);
		headers[i].json = NULL;
	}
}

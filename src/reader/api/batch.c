/* SPDX-License-Identifier: Apache-2.0 */
/* fst3fs_start_many: ranges of the caller's in, a plan of what is read together, and a thread that reads it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "background_i.h"

struct fst3fs_batch {
	struct fst3fs_background *background;
	size_t count;
	/* What the background reading looks at. */
	struct fst3fs_plan plan;
	struct fst3fs_plan_extent *extents;
	uint64_t *dsts;
	char **paths; /* each once */
	size_t path_count;
};

static void batch_free(struct fst3fs_batch *b)
{
	fst3fs_plan_fini(&b->plan);
	for (size_t i = 0; i < b->path_count; i++)
		free(b->paths[i]);
	free(b->paths);
	free(b->dsts);
	free(b->extents);
	free(b);
}

/* Requests by path, those of one path together. */
static int by_path(const void *a, const void *b)
{
	return strcmp((*(const struct fst3fs_request *const *)a)->path,
		      (*(const struct fst3fs_request *const *)b)->path);
}

/* Gives each path a number, the same to all requests of it. */
static int number_paths(struct fst3fs_batch *b, const struct fst3fs_request *requests)
{
	const struct fst3fs_request **sorted = calloc(b->count + 1, sizeof(const struct fst3fs_request *));
	int rc = sorted ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < b->count; i++)
		sorted[i] = &requests[i];
	if (rc == 0)
		qsort(sorted, b->count, sizeof(const struct fst3fs_request *), by_path);
	for (size_t i = 0; rc == 0 && i < b->count; i++) {
		if (i == 0 || strcmp(sorted[i - 1]->path, sorted[i]->path) != 0) {
			b->paths[b->path_count] = strdup(sorted[i]->path);
			rc = b->paths[b->path_count] ? 0 : -ENOMEM;
			b->path_count += rc == 0;
		}
		b->extents[sorted[i] - requests].file = (uint32_t)(b->path_count - 1);
	}
	free(sorted);
	return rc;
}

static int check_requests(const struct fst3fs_request *requests, size_t n, struct fst3fs_error *err)
{
	for (size_t i = 0; i < n; i++) {
		int rc = fst3fs_reader_check_range(&requests[i], err);

		if (rc == 0)
			continue;
		if (err)
			err->index = (int64_t)i;
		return rc;
	}
	return 0;
}

static struct fst3fs_batch *batch_new(const struct fst3fs_request *requests, size_t n)
{
	const struct fst3fs_plan_config config = {
		.gap = FST3FS_PLAN_GAP, .run_max = FST3FS_RUN_MAX, .grain = FST3FS_RUN_GRAIN};
	struct fst3fs_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->count = n;
	b->extents = calloc(n + 1, sizeof(*b->extents));
	b->dsts = calloc(n + 1, sizeof(*b->dsts));
	b->paths = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; b->extents && b->dsts && i < n; i++) {
		b->extents[i].begin = (uint64_t)requests[i].offset;
		b->extents[i].end = (uint64_t)requests[i].offset + (uint64_t)requests[i].length;
		b->dsts[i] = requests[i].dst;
	}
	if (b->extents && b->dsts && b->paths && number_paths(b, requests) == 0 &&
	    fst3fs_plan_make(&config, b->extents, n, &b->plan) == 0)
		return b;
	batch_free(b);
	return NULL;
}

static int start(struct fst3fs_reader *r, struct fst3fs_batch *b, int64_t chunk_size, struct fst3fs_error *err)
{
	const struct fst3fs_background_plan what = {
		.plan = &b->plan,
		.extents = b->extents,
		.dsts = b->dsts,
		.n = b->count,
		.paths = (const char *const *)b->paths,
		.chunk_size = (uint64_t)chunk_size,
	};
	int rc = fst3fs_background_new(r, &what, &b->background, err);

	return rc < 0 ? rc : fst3fs_background_add_all(b->background, err);
}

int fst3fs_start_many(struct fst3fs_reader *r, const struct fst3fs_request *requests, size_t n, int64_t chunk_size,
		      struct fst3fs_batch **out, struct fst3fs_error *err)
{
	struct fst3fs_batch *b;
	int rc;

	fst3fs_err_reset(err);
	rc = fst3fs_reader_check_call(r, chunk_size, err);
	if (rc == 0)
		rc = check_requests(requests, n, err);
	if (rc < 0)
		return rc;
	b = batch_new(requests, n);
	if (!b)
		return fst3fs_err_set(err, -ENOMEM, "no memory for %zu requests", n);
	rc = start(r, b, chunk_size, err);
	if (rc < 0) {
		batch_free(b);
		return rc;
	}
	*out = b;
	return 0;
}

/* Modelled in tests/models/stream.pml. */
int64_t fst3fs_batch_wait(struct fst3fs_batch *b, size_t i, struct fst3fs_error *err)
{
	fst3fs_err_reset(err);
	if (i >= b->count)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "range %zu of a batch of %zu", i,
					   b->count);
	return fst3fs_background_wait(b->background, i, err);
}

bool fst3fs_batch_is_ready(struct fst3fs_batch *b, size_t i)
{
	return i >= b->count || fst3fs_background_is_over(b->background, i);
}

int fst3fs_batch_finish(struct fst3fs_batch *b, struct fst3fs_error *err)
{
	int rc;

	fst3fs_err_reset(err);
	rc = fst3fs_background_end(b->background, false, err);
	batch_free(b);
	return rc;
}

void fst3fs_batch_cancel(struct fst3fs_batch *b)
{
	if (!b)
		return;
	fst3fs_background_end(b->background, true, NULL);
	batch_free(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "checkpoint_i.h"
#include "stream_i.h"

static int compare_numbers(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

/* Tensors are numbered by file and offset, so that sorting the numbers gives the order. */
static int choose(struct fst3fs_selection *s, const size_t *which, struct fst3fs_error *err)
{
	for (size_t i = 0; i < s->count; i++)
		s->order[i] = which ? which[i] : i;
	if (which)
		qsort(s->order, s->count, sizeof(*s->order), compare_numbers);
	for (size_t i = 0; i < s->count; i++) {
		if (s->order[i] >= s->checkpoint->count)
			return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
						   "tensor %zu of a checkpoint that has %zu", s->order[i],
						   s->checkpoint->count);
		if (i > 0 && s->order[i] == s->order[i - 1])
			return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "tensor %zu is asked for twice",
						   s->order[i]);
	}
	return 0;
}

int fst3fs_selection_make(struct fst3fs_selection *s, const struct fst3fs_checkpoint *c, const size_t *which, size_t n,
			  struct fst3fs_error *err)
{
	const struct fst3fs_plan_config config = {
		.gap = FST3FS_PLAN_GAP, .run_max = FST3FS_RUN_MAX, .grain = FST3FS_RUN_GRAIN};
	int rc;

	s->checkpoint = c;
	s->count = which ? n : c->count;
	s->order = calloc(s->count + 1, sizeof(*s->order));
	s->extents = calloc(s->count + 1, sizeof(*s->extents));
	rc = s->order && s->extents ? 0 : -ENOMEM;
	if (rc == 0)
		rc = choose(s, which, err);
	for (size_t i = 0; rc == 0 && i < s->count; i++) {
		const struct fst3fs_placed *p = &c->tensors[s->order[i]];

		s->extents[i] = (struct fst3fs_plan_extent){(uint32_t)p->file, p->tensor->begin, p->tensor->end};
	}
	if (rc == 0)
		rc = fst3fs_plan_make(&config, s->extents, s->count, &s->plan);
	if (rc == -ENOMEM)
		fst3fs_err_set(err, rc, "no memory for a selection of %zu tensors", s->count);
	return rc;
}

void fst3fs_selection_fini(struct fst3fs_selection *s)
{
	fst3fs_plan_fini(&s->plan);
	free(s->extents);
	free(s->order);
}

struct fst3fs_background_plan fst3fs_selection_plan(const struct fst3fs_selection *s, const uint64_t *dsts)
{
	return (struct fst3fs_background_plan){
		.plan = &s->plan,
		.extents = s->extents,
		.dsts = dsts,
		.n = s->count,
		.paths = (const char *const *)s->checkpoint->paths,
		.exact = true,
		.inodes = s->checkpoint->inodes,
	};
}

/* The addresses by place in the order. */
static uint64_t *sort_addresses(const struct fst3fs_selection *s, const size_t *which, const uint64_t *dst)
{
	uint64_t *dsts = calloc(s->count + 1, sizeof(*dsts));

	for (size_t i = 0; dsts && i < s->count; i++) {
		const size_t *place = bsearch(&which[i], s->order, s->count, sizeof(*s->order), compare_numbers);

		dsts[place - s->order] = dst[i];
	}
	return dsts;
}

static int read_all(struct fst3fs_reader *r, const struct fst3fs_background_plan *what, struct fst3fs_error *err)
{
	struct fst3fs_background *b;
	int rc = fst3fs_background_new(r, what, &b, err);

	if (rc < 0)
		return rc;
	rc = fst3fs_background_add_all(b, err);
	return rc < 0 ? rc : fst3fs_background_end(b, false, err);
}

int fst3fs_read_tensors(struct fst3fs_reader *r, const struct fst3fs_checkpoint *c, const size_t *which,
			const uint64_t *dst, size_t n, struct fst3fs_error *err)
{
	struct fst3fs_selection s = {0};
	struct fst3fs_background_plan what;
	uint64_t *dsts = NULL;
	int rc;

	fst3fs_err_reset(err);
	rc = fst3fs_reader_check_call(r, 0, err);
	if (rc < 0 || n == 0)
		return rc;
	rc = fst3fs_selection_make(&s, c, which, n, err);
	if (rc == 0) {
		dsts = sort_addresses(&s, which, dst);
		rc = dsts ? 0 : fst3fs_err_set(err, -ENOMEM, "no memory for %zu addresses", n);
	}
	if (rc == 0) {
		what = fst3fs_selection_plan(&s, dsts);
		rc = read_all(r, &what, err);
	}
	free(dsts);
	fst3fs_selection_fini(&s);
	return rc;
}

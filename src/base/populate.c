/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages put there before anyone needs them.
 *
 * A small page costs a fault of its own, most of which is not the zeroing; a huge one costs the zeroing. Where a
 * mapping gets huge pages of itself, the first touch of each brings it whole. Where it does not, MADV_COLLAPSE makes
 * one of the page that was touched and 511 that were not, without a change to the mapping, which stays as its owner
 * made it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pages.h"
#include "pool.h"

/* Younger than the C libraries that this is built with. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define SMALLEST_PAGE 4096
#define UNITS (FST3FS_STRETCH / FST3FS_HUGE_PAGE)

/* ------------------------------------------------------------------ what the kernel can */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int can_populate;
static bool can_collapse;

static int try_populate(void)
{
	size_t page = fst3fs_page_size();
	void *base = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (base == MAP_FAILED)
		return -errno;
	rc = madvise(base, page, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
	munmap(base, page);
	return rc;
}

/* First line of a small file, "" when it cannot be read. */
static void read_line(const char *path, char *line, int size)
{
	FILE *f = fopen(path, "re");

	line[0] = '\0';
	if (!f)
		return;
	if (!fgets(line, size, f))
		line[0] = '\0';
	fclose(f);
}

static void ask(void)
{
	char enabled[128], bytes[32], huge[32];

	can_populate = try_populate();
	read_line(THP "enabled", enabled, sizeof(enabled));
	read_line(THP "hpage_pmd_size", bytes, sizeof(bytes));
	snprintf(huge, sizeof(huge), "%lu\n", FST3FS_HUGE_PAGE);
	can_collapse = enabled[0] && !strstr(enabled, "[never]") && strcmp(bytes, huge) == 0;
}

int fst3fs_pages_can_populate(void)
{
	pthread_once(&once, ask);
	return can_populate;
}

bool fst3fs_pages_can_collapse(void)
{
	pthread_once(&once, ask);
	return can_collapse;
}

/* ------------------------------------------------------------------ one stretch */

struct stretch {
	uint8_t *base;
	size_t page, pages;
	size_t unit;	 /* pages of a huge page */
	size_t nunits;	 /* huge pages wholly inside */
	size_t first;	 /* page where the first of them begins */
	bool new[UNITS]; /* nothing of it was there */
	unsigned char there[FST3FS_STRETCH / SMALLEST_PAGE];
};

static bool look(struct stretch *s)
{
	return mincore(s->base, s->pages * s->page, s->there) == 0;
}

static bool is_there(const struct stretch *s, size_t i)
{
	return s->there[i] & 1;
}

static size_t count(const struct stretch *s, size_t from, size_t n)
{
	size_t there = 0;

	for (size_t i = from; i < from + n; i++)
		there += is_there(s, i);
	return there;
}

static int advise(const struct stretch *s, size_t from, size_t n, int advice)
{
	return madvise(s->base + from * s->page, n * s->page, advice) < 0 ? -errno : 0;
}

static bool cut(struct stretch *s, void *base, size_t size)
{
	const size_t page = fst3fs_page_size();
	const uintptr_t begin = ((uintptr_t)base + page - 1) / page * page,
			end = ((uintptr_t)base + size) / page * page;
	const uintptr_t unit = (begin + FST3FS_HUGE_PAGE - 1) / FST3FS_HUGE_PAGE * FST3FS_HUGE_PAGE;

	if (begin >= end || size > FST3FS_STRETCH)
		return false;
	s->base = (uint8_t *)begin;
	s->page = page;
	s->pages = (end - begin) / page;
	s->unit = FST3FS_HUGE_PAGE / page;
	s->first = (unit - begin) / page;
	s->nunits = unit < end ? (end - unit) / FST3FS_HUGE_PAGE : 0;
	return true;
}

/* The first page of each huge one of which nothing is there; whether there was any. */
static bool touch(struct stretch *s)
{
	bool any = false;

	for (size_t i = 0; i < s->nunits; i++) {
		size_t at = s->first + i * s->unit;

		s->new[i] = count(s, at, s->unit) == 0 && advise(s, at, 1, MADV_POPULATE_WRITE) == 0;
		any |= s->new[i];
	}
	return any;
}

/* Was touched, and is still small pages? */
static bool is_small(const struct stretch *s, size_t unit)
{
	return s->new[unit] && count(s, s->first + unit * s->unit, s->unit) == 1;
}

/* Makes huge pages of those that are not. */
static int collapse(struct stretch *s)
{
	int rc = 0;

	for (size_t i = 0, n; i < s->nunits && rc == 0; i += n) {
		size_t at = s->first + i * s->unit;

		n = 1;
		if (!is_small(s, i))
			continue;
		/* In one call: each has the kernel ask all processors to empty their lists of pages. */
		while (i + n < s->nunits && is_small(s, i + n))
			n++;
		rc = advise(s, at, n * s->unit, MADV_COLLAPSE);
		if (rc == 0)
			memset(s->there + at, 1, n * s->unit);
		else if (rc == -EAGAIN)
			memset(s->new + i, 0, n); /* somebody has come */
	}
	return rc;
}

/* A huge page that was begun by somebody else, who is at it right now: two at the same place are slower than one. */
static bool is_theirs(const struct stretch *s, size_t page)
{
	size_t unit = (page - s->first) / s->unit;

	return page >= s->first && unit < s->nunits && !s->new[unit];
}

/* What is missing, in whatever pages the mapping gets. */
static void fill_up(struct stretch *s)
{
	for (size_t i = 0, n; i < s->pages; i += n) {
		n = 1;
		if (is_there(s, i) || is_theirs(s, i))
			continue;
		while (i + n < s->pages && !is_there(s, i + n) && !is_theirs(s, i + n))
			n++;
		if (advise(s, i, n, MADV_POPULATE_WRITE) == 0)
			memset(s->there + i, 1, n);
	}
}

/* Bytes in huge pages that were not there before. */
static uint64_t count_huge(const struct stretch *s)
{
	uint64_t huge = 0;

	for (size_t i = 0; i < s->nunits; i++)
		if (s->new[i] && count(s, s->first + i * s->unit, s->unit) == s->unit)
			huge += FST3FS_HUGE_PAGE;
	return huge;
}

/* Brings huge pages where it can; `small`: all the rest as well. */
static int populate(struct stretch *s, bool may_collapse, bool small, struct fst3fs_populated *made)
{
	size_t before;
	int rc = 0;

	if (!look(s))
		return 0;
	before = count(s, 0, s->pages);
	if (before == s->pages)
		return 0;
	if (touch(s) && look(s) && may_collapse)
		rc = collapse(s);
	made->huge += count_huge(s);
	if (small && rc != -EBUSY)
		fill_up(s);
	made->bytes += (count(s, 0, s->pages) - before) * s->page;
	return rc;
}

int fst3fs_pages_populate(void *base, size_t size, bool may_collapse, struct fst3fs_populated *made)
{
	struct stretch s = {.base = base};

	return cut(&s, base, size) ? populate(&s, may_collapse, true, made) : 0;
}

/* ------------------------------------------------------------------ all of it */

/* Zeroing is bound by memory, of which a few threads use all that one process gets. */
enum { THREADS = 8 };

struct filling {
	uint8_t *base;
	size_t size;
	atomic_size_t next;	    /* offset of the next stretch */
	atomic_uint_least64_t huge; /* bytes */
	atomic_bool refused;
};

struct filler {
	struct fst3fs_task task;
	struct filling *f;
};

static void fill(struct filling *f)
{
	while (!atomic_load(&f->refused)) {
		size_t at = atomic_fetch_add(&f->next, FST3FS_STRETCH);
		size_t left = at < f->size ? f->size - at : 0;
		struct fst3fs_populated made = {0};
		struct stretch s = {.base = NULL};

		if (left < FST3FS_HUGE_PAGE || !cut(&s, f->base + at, left < FST3FS_STRETCH ? left : FST3FS_STRETCH))
			return;
		if (populate(&s, true, false, &made) < 0)
			atomic_store(&f->refused, true);
		atomic_fetch_add(&f->huge, made.huge);
	}
}

static void filler_run(struct fst3fs_task *task)
{
	fill(((struct filler *)task)->f);
}

static int extra_threads(size_t size)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t stretches = size / FST3FS_STRETCH;
	size_t most = cpus < 1 ? 1 : cpus < THREADS ? (size_t)cpus : THREADS;

	return (int)(stretches < most ? stretches : most) - 1;
}

size_t fst3fs_pages_fill(void *base, size_t size)
{
	struct filling f = {.base = base, .size = size};
	struct filler fillers[THREADS];
	struct fst3fs_pool *pool = NULL;
	int threads = extra_threads(size);

	if (fst3fs_pages_can_populate() < 0 || size < FST3FS_HUGE_PAGE)
		return 0;
	if (threads > 0)
		pool = fst3fs_pool_new("fst3fs-pages", threads);
	for (int i = 0; pool && i < threads; i++) {
		fillers[i] = (struct filler){.task.run = filler_run, .f = &f};
		if (fst3fs_pool_run(pool, &fillers[i].task) < 0)
			break; /* fewer then */
	}
	fill(&f);
	fst3fs_pool_leave(pool, UINT64_MAX / 2);
	return (size_t)atomic_load(&f.huge);
}

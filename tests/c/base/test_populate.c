/* SPDX-License-Identifier: Apache-2.0 */
/* Pages put there in advance: which, of what kind, and what happens where the kernel or the memory says no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulated.h"
#include "pages.h"
#include "refuse.h"

#define MIB (1ul << 20)
#define HUGE FST3FS_HUGE_PAGE
#define POPULATE_WRITE 23
#define COLLAPSE 25

static size_t page;

/* Fresh memory that begins at a huge page. */
static uint8_t *fresh(size_t size)
{
	uint8_t *base = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(base, MAP_FAILED);
	return base + -(uintptr_t)base % HUGE;
}

/* The same, whose pages are small whatever the machine is set to. */
static uint8_t *small(size_t size)
{
	uint8_t *base = fresh(size);

	madvise(base, size, MADV_NOHUGEPAGE);
	return base;
}

static bool there(const uint8_t *at)
{
	unsigned char vec;

	assert_int_equal(mincore((void *)((uintptr_t)at / page * page), page, &vec), 0);
	return vec & 1;
}

static size_t count_there(const uint8_t *base, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i += page)
		n += there(base + i);
	return n * page;
}

/* A line of the mapping that `at` lies in, from /proc/self/smaps. */
static void smaps(const uint8_t *at, const char *key, char *line, int size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long begin, end;
	bool inside = false;

	assert_non_null(f);
	while (fgets(line, size, f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			inside = (uintptr_t)at >= begin && (uintptr_t)at < end;
		else if (inside && strncmp(line, key, strlen(key)) == 0)
			break;
	}
	fclose(f);
}

static size_t smaps_bytes(const uint8_t *at, const char *key)
{
	char line[256];
	unsigned long kib = 0;

	smaps(at, key, line, sizeof(line));
	assert_int_equal(sscanf(strchr(line, ':') + 1, "%lu", &kib), 1);
	return kib << 10;
}

/* ------------------------------------------------------------------ what is put there */

static void whole_pages_inside_the_range_alone(void **state)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = small(4 * HUGE);

	(void)state;
	if (emulated())
		skip(); /* qemu takes the advice and does nothing */
	assert_int_equal(fst3fs_pages_populate(base + HUGE - 3 * page + 1, HUGE + 5 * page, false, &made), 0);
	assert_int_equal(count_there(base, 4 * HUGE), HUGE + 4 * page);
	assert_false(there(base + HUGE - 3 * page));
	assert_true(there(base + HUGE - 2 * page));
	assert_true(there(base + 2 * HUGE + page));
	assert_false(there(base + 2 * HUGE + 2 * page));
	assert_int_equal(made.bytes, HUGE + 4 * page);
	assert_int_equal(made.huge, 0);
}

static void less_than_a_page_is_nothing(void **state)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = fresh(HUGE);

	(void)state;
	assert_int_equal(fst3fs_pages_populate(base + 1, page, true, &made), 0);
	assert_int_equal(fst3fs_pages_populate(base, 0, true, &made), 0);
	assert_int_equal(made.bytes + count_there(base, HUGE), 0);
}

static void what_is_there_stays(void **state)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = fresh(2 * HUGE);

	(void)state;
	memset(base, 7, HUGE);
	base[2 * HUGE - page] = 9;
	assert_int_equal(fst3fs_pages_populate(base, HUGE, true, &made), 0);
	assert_int_equal(made.bytes, 0);
	fst3fs_pages_populate(base, 2 * HUGE, true, &made);
	for (size_t i = 0; i < HUGE; i++)
		assert_int_equal(base[i], 7);
	assert_int_equal(base[2 * HUGE - page], 9);
}

static void huge_pages_without_a_change_to_the_mapping(void **state)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = fresh(4 * HUGE);
	char before[256], after[256];
	int rc = 0;

	(void)state;
	if (emulated())
		skip(); /* qemu takes the advice and does nothing */
	if (!fst3fs_pages_can_collapse())
		skip();
	smaps(base, "VmFlags:", before, sizeof(before));
	/* The kernel may have to be asked again: what it says then is that somebody else was at it. */
	for (int i = 0; i < 100 && made.huge < 2 * HUGE && rc != -EINVAL; i++) {
		madvise(base, 4 * HUGE, MADV_DONTNEED);
		made = (struct fst3fs_populated){0};
		rc = fst3fs_pages_populate(base + page, 3 * HUGE, true, &made);
	}
	if (rc == -EINVAL)
		skip(); /* before Linux 6.1 */
	assert_int_equal(made.huge, 2 * HUGE);
	assert_int_equal(made.bytes, 3 * HUGE);
	assert_true(smaps_bytes(base, "AnonHugePages:") >= 2 * HUGE);
	smaps(base, "VmFlags:", after, sizeof(after));
	assert_string_equal(after, before);
	for (size_t i = 0; i < 4 * HUGE; i++)
		assert_int_equal(base[i], 0);
}

static void shared_memory_is_filled_in_parallel(void **state)
{
	const size_t size = 37 * MIB + 5 * page;
	int fd = memfd_create("fill", MFD_CLOEXEC);
	void *base;
	size_t huge;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fst3fs_pages_map_shared(fd, size, &base), 0);
	assert_int_equal((uintptr_t)base % HUGE, 0);
	huge = fst3fs_pages_fill(base, size);
	assert_int_equal(smaps_bytes(base, "ShmemPmdMapped:"), huge);
	assert_true(huge <= size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(((uint8_t *)base)[i], 0);
	munmap(base, size);
	close(fd);
}

/* ------------------------------------------------------------------ what is refused */

static void memory_that_is_gone_or_may_not_be_written(void **state)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = fresh(4 * HUGE);

	(void)state;
	munmap(base + HUGE, HUGE);
	fst3fs_pages_populate(base, 4 * HUGE, true, &made); /* a hole in the middle */
	assert_int_equal(mprotect(base, HUGE, PROT_READ), 0);
	fst3fs_pages_populate(base, HUGE, true, &made);
	munmap(base, 4 * HUGE);
	made = (struct fst3fs_populated){0};
	assert_int_equal(fst3fs_pages_populate(base, 4 * HUGE, true, &made), 0);
	assert_int_equal(made.bytes, 0);
}

struct taker {
	uint8_t *base;
	size_t size;
	atomic_bool stop;
};

static void *take_away(void *arg)
{
	struct taker *t = arg;

	for (unsigned i = 0; !atomic_load(&t->stop); i++) {
		if (i % 2)
			madvise(t->base + i % 64 * page, t->size - 64 * page, MADV_DONTNEED);
		else if (mmap(t->base + HUGE, HUGE, i % 4 ? PROT_READ | PROT_WRITE : PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
	}
	return NULL;
}

static void memory_given_back_meanwhile(void **state)
{
	struct taker t = {.base = fresh(4 * HUGE), .size = 4 * HUGE};
	struct fst3fs_populated made = {0};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, take_away, &t), 0);
	for (int i = 0; i < 200; i++)
		fst3fs_pages_populate(t.base, t.size, true, &made);
	atomic_store(&t.stop, true);
	pthread_join(thread, NULL);
	munmap(t.base, t.size);
}

/* A writer's bytes stay, whatever kind of page comes under them. */
static void *write_along(void *arg)
{
	struct taker *t = arg;

	for (size_t i = 0; i < t->size; i += 64)
		t->base[i] = (uint8_t)(i >> 6 | 1);
	return NULL;
}

static void bytes_written_meanwhile_stay(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct taker t = {.base = fresh(4 * HUGE), .size = 4 * HUGE};
		struct fst3fs_populated made = {0};
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, write_along, &t), 0);
		fst3fs_pages_populate(t.base, t.size, true, &made);
		pthread_join(thread, NULL);
		for (size_t i = 0; i < t.size; i += 64)
			assert_int_equal(t.base[i], (uint8_t)(i >> 6 | 1));
		munmap(t.base, t.size);
	}
}

/* In a process of its own, whose kernel refuses `advice`: 0, 77 where filters are not to be had, or what went wrong. */
static int refused(int advice, int (*work)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(refuse_advice(advice, EPERM) < 0 ? 77 : work());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	return WEXITSTATUS(status);
}

static int nothing_comes(void)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = fresh(2 * HUGE);

	if (fst3fs_pages_can_populate() != -EPERM || fst3fs_pages_fill(base, 2 * HUGE) != 0)
		return 1;
	if (fst3fs_pages_populate(base, 2 * HUGE, true, &made) != 0 || made.bytes)
		return 2;
	return count_there(base, 2 * HUGE) ? 3 : 0;
}

static void a_kernel_that_does_not_populate(void **state)
{
	(void)state;
	assert_int_equal(refused(POPULATE_WRITE, nothing_comes), 0);
}

static int small_pages_come(void)
{
	struct fst3fs_populated made = {0};
	uint8_t *base = small(2 * HUGE);
	int rc;

	if (fst3fs_pages_can_populate() != 0)
		return 1;
	rc = fst3fs_pages_populate(base, 2 * HUGE, true, &made);
	if (rc != -EPERM || made.huge || made.bytes != 2 * HUGE)
		return 2;
	return count_there(base, 2 * HUGE) == 2 * HUGE ? 0 : 3;
}

static void a_kernel_that_does_not_collapse(void **state)
{
	(void)state;
	assert_int_equal(refused(COLLAPSE, small_pages_come), 0);
}

static int set_up(void **state)
{
	(void)state;
	page = fst3fs_page_size();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First, because what the kernel can is asked once, and children inherit the answer. */
		cmocka_unit_test(a_kernel_that_does_not_populate),
		cmocka_unit_test(a_kernel_that_does_not_collapse),
		cmocka_unit_test(whole_pages_inside_the_range_alone),
		cmocka_unit_test(less_than_a_page_is_nothing),
		cmocka_unit_test(what_is_there_stays),
		cmocka_unit_test(huge_pages_without_a_change_to_the_mapping),
		cmocka_unit_test(shared_memory_is_filled_in_parallel),
		cmocka_unit_test(memory_that_is_gone_or_may_not_be_written),
		cmocka_unit_test(memory_given_back_meanwhile),
		cmocka_unit_test(bytes_written_meanwhile_stay),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Memory made resident by other threads: for whom, until when, and what a refusal changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "emulated.h"
#include "populator.h"
#include "refuse.h"

#define MIB (1ull << 20)
#define STRETCH FST3FS_STRETCH
#define COLLAPSE 25

static const struct fst3fs_place anywhere = {.policy = -1};

/* Fresh memory in small pages. */
static uint64_t fresh(size_t size)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(base, MAP_FAILED);
	madvise(base, size, MADV_NOHUGEPAGE);
	return (uint64_t)(uintptr_t)base;
}

static uint64_t resident(uint64_t base, size_t size)
{
	unsigned char *vec = malloc(size / fst3fs_page_size());
	uint64_t bytes = 0;

	assert_int_equal(mincore((void *)(uintptr_t)base, size, vec), 0);
	for (size_t i = 0; i < size / fst3fs_page_size(); i++)
		bytes += vec[i] & 1 ? fst3fs_page_size() : 0;
	free(vec);
	return bytes;
}

/* Waits until as much was made resident; whether it was. */
static bool makes(struct fst3fs_populator *p, uint64_t bytes)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < 20000 && fst3fs_populator_made(p).bytes < bytes; i++)
		nanosleep(&moment, NULL);
	return fst3fs_populator_made(p).bytes == bytes;
}

static void what_is_added_becomes_resident(void **state)
{
	struct fst3fs_populator *p = fst3fs_populator_new();
	uint64_t base = fresh(4 * STRETCH);
	int owner = 0;

	(void)state;
	if (emulated())
		skip(); /* qemu takes the advice and does nothing */
	if (!p)
		skip();
	for (int i = 0; i < 4; i++)
		fst3fs_populator_add(p, base + i * STRETCH, STRETCH, &owner, &anywhere);
	assert_true(makes(p, 4 * STRETCH));
	assert_int_equal(resident(base, 4 * STRETCH), 4 * STRETCH);
	fst3fs_populator_forget(p, &owner);
	fst3fs_populator_end(p);
}

static void what_is_forgotten_is_left_alone(void **state)
{
	struct fst3fs_populator *p = fst3fs_populator_new();
	const struct timespec moment = {.tv_nsec = 50000000};
	uint64_t base = fresh(64 * STRETCH), theirs = fresh(STRETCH), after;
	int owner = 0, other = 0;

	(void)state;
	if (emulated())
		skip(); /* qemu takes the advice and does nothing */
	if (!p)
		skip();
	for (int i = 0; i < 64; i++)
		fst3fs_populator_add(p, base + i * STRETCH, STRETCH, &owner, &anywhere);
	fst3fs_populator_add(p, theirs, STRETCH, &other, &anywhere);
	fst3fs_populator_forget(p, &owner);
	after = resident(base, 64 * STRETCH);
	assert_true(after < 64 * STRETCH);
	assert_true(makes(p, after + STRETCH)); /* what is another's is not forgotten */
	nanosleep(&moment, NULL);
	assert_int_equal(resident(base, 64 * STRETCH), after);
	fst3fs_populator_forget(p, &other);
	fst3fs_populator_end(p);
}

/* The last of many, before its turn. */
static void what_is_about_to_be_written_comes_first(void **state)
{
	struct fst3fs_populator *p = fst3fs_populator_new();
	uint64_t base = fresh(32 * STRETCH), last = base + 31 * STRETCH;
	int owner = 0;

	(void)state;
	if (emulated())
		skip(); /* qemu takes the advice and does nothing */
	if (!p)
		skip();
	for (int i = 0; i < 32; i++)
		fst3fs_populator_add(p, base + i * STRETCH, STRETCH, &owner, &anywhere);
	fst3fs_populator_settle(p, last + MIB, MIB);
	assert_int_equal(resident(last, STRETCH), STRETCH);
	fst3fs_populator_settle(p, base + 64 * STRETCH, MIB); /* nobody's */
	assert_true(makes(p, 32 * STRETCH));		      /* and nothing of it twice */
	fst3fs_populator_forget(p, &owner);
	fst3fs_populator_end(p);
}

static void an_end_with_work_left_leaks_nothing(void **state)
{
	struct fst3fs_populator *p = fst3fs_populator_new();
	uint64_t base = fresh(16 * STRETCH);
	int owner = 0;

	(void)state;
	if (!p)
		skip();
	for (int i = 0; i < 16; i++)
		fst3fs_populator_add(p, base + i * STRETCH, STRETCH, &owner, &anywhere);
	fst3fs_populator_end(p);
}

static void none_does_nothing(void **state)
{
	int owner = 0;

	(void)state;
	fst3fs_populator_add(NULL, 1, 1, &owner, &anywhere);
	fst3fs_populator_forget(NULL, &owner);
	fst3fs_populator_settle(NULL, 1, 1);
	assert_int_equal(fst3fs_populator_made(NULL).bytes, 0);
	fst3fs_populator_end(NULL);
}

/* ------------------------------------------------------------------ refusals, in a process of their own */

static void refused(int code, int (*work)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(refuse_advice(COLLAPSE, code) < 0 || !fst3fs_pages_can_collapse() ? 77 : work());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int the_rest_comes_small(void)
{
	struct fst3fs_populator *p = fst3fs_populator_new();
	uint64_t base = fresh(2 * STRETCH);
	int owner = 0;
	bool good;

	for (int i = 0; i < 2; i++)
		fst3fs_populator_add(p, base + i * STRETCH, STRETCH, &owner, &anywhere);
	good = makes(p, 2 * STRETCH) && fst3fs_populator_made(p).huge == 0;
	fst3fs_populator_end(p);
	return good ? 0 : 1;
}

static void no_huge_pages(void **state)
{
	(void)state;
	refused(EINVAL, the_rest_comes_small);
}

/* A page of each huge one was touched when it was refused, on each of eight threads at most; after that nothing is. */
static int the_rest_stays_away(void)
{
	struct fst3fs_populator *p = fst3fs_populator_new();
	const struct timespec moment = {.tv_nsec = 50000000};
	uint64_t base = fresh(4 * STRETCH);
	int owner = 0;

	for (int i = 0; i < 4; i++)
		fst3fs_populator_add(p, base + i * STRETCH, STRETCH, &owner, &anywhere);
	nanosleep(&moment, NULL);
	fst3fs_populator_forget(p, &owner);
	fst3fs_populator_end(p);
	return resident(base, 4 * STRETCH) <= 8 * 4 * fst3fs_page_size() ? 0 : 1;
}

static void a_control_group_at_its_limit(void **state)
{
	(void)state;
	refused(EBUSY, the_rest_stays_away);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: what the kernel can is asked once, and children inherit the answer. */
		cmocka_unit_test(no_huge_pages),
		cmocka_unit_test(a_control_group_at_its_limit),
		cmocka_unit_test(what_is_added_becomes_resident),
		cmocka_unit_test(what_is_forgotten_is_left_alone),
		cmocka_unit_test(what_is_about_to_be_written_comes_first),
		cmocka_unit_test(an_end_with_work_left_leaks_nothing),
		cmocka_unit_test(none_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

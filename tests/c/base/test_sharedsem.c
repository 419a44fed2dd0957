/* SPDX-License-Identifier: Apache-2.0 */
/* Semaphores that others write: with glibc at the other end, and with nonsense in them. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "sharedsem.h"

static const struct timespec past = {.tv_sec = 1};

static struct timespec in_ms(uint64_t ms)
{
	return fst3fs_timespec(fst3fs_now_ns() + ms * FST3FS_NS_PER_MS);
}

static void posts_are_counted_as_glibc_counts_them(void **state)
{
	sem_t sem;
	int value;

	(void)state;
	sem_init(&sem, 1, 0);
	assert_int_equal(fst3fs_sem_wait(&sem, CLOCK_MONOTONIC, &past), -ETIMEDOUT);
	assert_int_equal(fst3fs_sem_wait(&sem, CLOCK_REALTIME, &past), -ETIMEDOUT);
	fst3fs_sem_post(&sem);
	sem_post(&sem);
	fst3fs_sem_post(&sem);
	sem_getvalue(&sem, &value);
	assert_int_equal(value, 3);
	assert_int_equal(sem_trywait(&sem), 0);
	assert_int_equal(fst3fs_sem_wait(&sem, CLOCK_MONOTONIC, &past), 0);
	sem_getvalue(&sem, &value);
	assert_int_equal(value, 1);
	sem_post(&sem);
	fst3fs_sem_drain(&sem);
	assert_int_equal(sem_trywait(&sem), -1);
	sem_init(&sem, 1, SEM_VALUE_MAX);
	fst3fs_sem_post(&sem);
	sem_getvalue(&sem, &value);
	assert_int_equal(value, SEM_VALUE_MAX);
}

static void the_kernel_posts_as_well_and_survives_memory_that_is_gone(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("semaphore", MFD_CLOEXEC);
	sem_t *sem;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)page), 0);
	sem = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(sem, MAP_FAILED);
	sem_init(sem, 1, 0);
	assert_int_equal(fst3fs_sem_post_by_kernel(sem), 0);
	assert_int_equal(fst3fs_sem_post_by_kernel(sem), 0);
	assert_int_equal(sem_trywait(sem), 0);
	assert_int_equal(fst3fs_sem_wait(sem, CLOCK_MONOTONIC, &past), 0);
	assert_int_equal(sem_trywait(sem), -1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(fst3fs_sem_post_by_kernel(sem), -EFAULT);
	munmap(sem, page);
	close(fd);
}

static void an_impossible_time_is_an_error(void **state)
{
	const struct timespec bad = {.tv_nsec = -1};
	sem_t sem;

	(void)state;
	sem_init(&sem, 1, 0);
	assert_int_equal(fst3fs_sem_wait(&sem, CLOCK_MONOTONIC, &bad), -EINVAL);
	assert_int_equal(fst3fs_sem_wait(&sem, CLOCK_REALTIME, &bad), -EINVAL);
}

/* Two threads throw a ball: whichever end glibc has, nobody sleeps for ever. */
struct game {
	sem_t there, back;
	bool ours_sleeps;
};

enum { THROWS = 2000 };

static void post(sem_t *sem, bool ours)
{
	if (ours)
		fst3fs_sem_post(sem);
	else
		sem_post(sem);
}

static void await(sem_t *sem, bool ours)
{
	if (ours) {
		while (fst3fs_sem_wait(sem, CLOCK_MONOTONIC, NULL))
			;
	} else {
		while (sem_wait(sem))
			;
	}
}

static void *throw_back(void *arg)
{
	struct game *g = arg;

	for (int i = 0; i < THROWS; i++) {
		await(&g->there, g->ours_sleeps);
		post(&g->back, !g->ours_sleeps);
	}
	return NULL;
}

static void each_end_wakes_the_other(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		struct game g = {.ours_sleeps = kind & 1};
		pthread_t thread;

		sem_init(&g.there, kind & 2, 0);
		sem_init(&g.back, kind & 2, 0);
		assert_int_equal(pthread_create(&thread, NULL, throw_back, &g), 0);
		for (int i = 0; i < THROWS; i++) {
			post(&g.there, !g.ours_sleeps);
			await(&g.back, g.ours_sleeps);
		}
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
}

/* glibc ends the process on most of these. */
static void nonsense_ends_nobody(void **state)
{
	sem_t sem;

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		for (size_t zeros = 0; zeros <= sizeof(sem); zeros += 4) {
			struct timespec soon = in_ms(1);

			memset(&sem, byte, sizeof(sem));
			memset(&sem, 0, zeros);
			fst3fs_sem_post(&sem);
			fst3fs_sem_drain(&sem);
			assert_int_equal(fst3fs_sem_wait(&sem, CLOCK_MONOTONIC, zeros % 8 ? &past : &soon), -ETIMEDOUT);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(posts_are_counted_as_glibc_counts_them),
		cmocka_unit_test(the_kernel_posts_as_well_and_survives_memory_that_is_gone),
		cmocka_unit_test(an_impossible_time_is_an_error),
		cmocka_unit_test(each_end_wakes_the_other),
		cmocka_unit_test(nonsense_ends_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

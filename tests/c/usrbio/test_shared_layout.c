/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processes share works between any two of them: a ring's indices without a lock, its semaphore where it lies
 * behind any number of slots, and both in the order in which they were used. `make arm` runs it on Arm, and the tests
 * on a served mount with client and daemon of different architectures.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire.h"

enum { ROUNDS = 20000, SLOTS = 7, SPINS = 1000, PEER_S = 60 };

static size_t sem_offset(size_t slots)
{
	return sizeof(struct usrbio_ring_header) + slots * USRBIO_SLOT_BYTES;
}

static void the_semaphore_is_aligned_behind_any_number_of_slots(void **state)
{
	(void)state;
	for (size_t slots = 1; slots < 4096; slots++)
		assert_int_equal(sem_offset(slots) % _Alignof(sem_t), 0);
}

static void indices_and_semaphores_need_no_lock(void **state)
{
	struct usrbio_ring_header header;

	(void)state;
	assert_true(__atomic_is_lock_free(sizeof(header.sqe_head), &header.sqe_head));
	assert_true(__atomic_is_lock_free(sizeof(header.cqe_tail), &header.cqe_tail));
	/* The value of a semaphore and how many wait for it, in one word. */
	assert_true(__atomic_is_lock_free(8, NULL));
}

struct shared {
	struct usrbio_ring_header header;
	uint8_t slots[SLOTS * USRBIO_SLOT_BYTES];
	sem_t sem; /* posted by the peer, waited for here */
	sem_t back;
	int64_t bytes[SLOTS]; /* written before an index moves, read after: the order counts */
};

/* Another process's part: puts numbers, each into the place that the index then shows. */
static int peer(struct shared *s)
{
	alarm(PEER_S);
	for (int64_t i = 1; i <= ROUNDS; i++) {
		while (sem_wait(&s->back) != 0)
			;
		s->bytes[i % SLOTS] = i;
		__atomic_store_n(&s->header.cqe_head, (int32_t)(i % SLOTS), __ATOMIC_SEQ_CST);
		sem_post(&s->sem);
	}
	return 0;
}

static void two_processes_see_what_the_other_wrote(void **state)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	(void)state;
	assert_ptr_not_equal(s, MAP_FAILED);
	_Static_assert(offsetof(struct shared, sem) == sizeof(struct usrbio_ring_header) + SLOTS * USRBIO_SLOT_BYTES,
		       "as in a ring");
	assert_int_equal(sem_init(&s->sem, 1, 0), 0);
	assert_int_equal(sem_init(&s->back, 1, 1), 0);
	pid = fork();
	if (pid == 0)
		_exit(peer(s));
	for (int64_t i = 1; i <= ROUNDS; i++) {
		int32_t at;

		while (sem_wait(&s->sem) != 0)
			;
		at = __atomic_load_n(&s->header.cqe_head, __ATOMIC_SEQ_CST);
		assert_int_equal(at, i % SLOTS);
		assert_int_equal(s->bytes[at], i);
		sem_post(&s->back);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	sem_destroy(&s->sem);
	sem_destroy(&s->back);
	munmap(s, sizeof(*s));
}

/* Waits for an index to be at `at`: at once where the other process runs beside this one. */
static void await(const int32_t *index, int64_t at)
{
	for (int spins = 0; __atomic_load_n(index, __ATOMIC_SEQ_CST) != at; spins++)
		if (spins > SPINS)
			sched_yield();
}

/* The index alone, with nothing else that would order it: how a ring is read while its semaphore has posts to spare. */
static int publish(struct shared *s)
{
	alarm(PEER_S);
	for (int64_t i = 1; i <= ROUNDS; i++) {
		await(&s->header.cqe_tail, (i - 1) % SLOTS);
		s->bytes[i % SLOTS] = i;
		__atomic_store_n(&s->header.cqe_head, (int32_t)(i % SLOTS), __ATOMIC_SEQ_CST);
	}
	return 0;
}

static void an_index_comes_after_what_it_shows(void **state)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t wrong = 0;
	int status;
	pid_t pid;

	(void)state;
	assert_ptr_not_equal(s, MAP_FAILED);
	pid = fork();
	if (pid == 0)
		_exit(publish(s));
	alarm(PEER_S);
	for (int64_t i = 1; i <= ROUNDS; i++) {
		await(&s->header.cqe_head, i % SLOTS);
		wrong += s->bytes[i % SLOTS] != i;
		__atomic_store_n(&s->header.cqe_tail, (int32_t)(i % SLOTS), __ATOMIC_SEQ_CST);
	}
	alarm(0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(wrong, 0);
	munmap(s, sizeof(*s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_semaphore_is_aligned_behind_any_number_of_slots),
		cmocka_unit_test(indices_and_semaphores_need_no_lock),
		cmocka_unit_test(two_processes_see_what_the_other_wrote),
		cmocka_unit_test(an_index_comes_after_what_it_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

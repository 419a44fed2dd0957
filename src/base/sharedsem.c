/* SPDX-License-Identifier: Apache-2.0 */
#include "sharedsem.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a sem_t of 64-bit glibc has held since 2.21. */
struct layout {
	uint64_t word;
	int shared; /* 0: its futex is this process's own */
};

/* In the word. */
#define POSTS 0xffffffffull /* how many there are, at most INT_MAX; the futex */
#define WAITER (1ull << 32) /* added by each that may sleep */

_Static_assert(sizeof(sem_t) == 32, "glibc's sem_t where pointers have 64 bits");
_Static_assert(sizeof(struct layout) <= sizeof(sem_t) && _Alignof(struct layout) == _Alignof(sem_t),
	       "lies in its place");
_Static_assert(offsetof(struct layout, shared) == 8, "glibc's");
_Static_assert(__atomic_always_lock_free(sizeof(uint64_t), 0) && __atomic_always_lock_free(sizeof(int), 0),
	       "a lock would be one process's own");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the posts come first");

static uint64_t *word_of(sem_t *sem)
{
	return &((struct layout *)sem)->word;
}

/* The kernel sees one of two values, whatever stands there. */
static long futex(sem_t *sem, int op, uint32_t value, const struct timespec *until)
{
	if (!__atomic_load_n(&((struct layout *)sem)->shared, __ATOMIC_RELAXED))
		op |= FUTEX_PRIVATE_FLAG;
	return syscall(SYS_futex, sem, op, value, until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void fst3fs_sem_post(sem_t *sem)
{
	uint64_t *word = word_of(sem), old = __atomic_load_n(word, __ATOMIC_RELAXED);

	do
		if ((old & POSTS) >= INT_MAX)
			return;
	while (!__atomic_compare_exchange_n(word, &old, old + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	if (old >= WAITER)
		futex(sem, FUTEX_WAKE, 1, NULL);
}

/* The kernel adds, and so is the one to meet a page that is gone. It wakes one waiter at the first address; none at the
 * second, because no value is below 0. */
int fst3fs_sem_post_by_kernel(sem_t *sem)
{
	const int add_one = FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_LT, 0);

	if (syscall(SYS_futex, sem, FUTEX_WAKE_OP, 1, 0ul, sem, add_one) >= 0)
		return 0;
	if (errno == EFAULT)
		return -EFAULT;
	fst3fs_sem_post(sem);
	return 0;
}

/* Takes a post, if there is one, and `less` with it. */
static bool take(uint64_t *word, uint64_t less)
{
	uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

	do
		if (!(old & POSTS))
			return false;
	while (!__atomic_compare_exchange_n(word, &old, old - 1 - less, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	return true;
}

int fst3fs_sem_wait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
	const int op = FUTEX_WAIT_BITSET | (clock == CLOCK_REALTIME ? FUTEX_CLOCK_REALTIME : 0);
	uint64_t *word = word_of(sem);
	int rc = -EAGAIN;

	if (take(word, 0))
		return 0;
	__atomic_fetch_add(word, WAITER, __ATOMIC_SEQ_CST);
	/* Once: a semaphore that changes all the time must not keep anyone here. */
	if (futex(sem, op, 0, until) < 0)
		rc = -errno;
	if (take(word, WAITER))
		return 0;
	__atomic_fetch_sub(word, WAITER, __ATOMIC_SEQ_CST);
	return rc;
}

void fst3fs_sem_drain(sem_t *sem)
{
	__atomic_fetch_and(word_of(sem), ~POSTS, __ATOMIC_SEQ_CST);
}

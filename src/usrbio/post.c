/* SPDX-License-Identifier: Apache-2.0 */
#include "post.h"

#include <endian.h>
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sharedsem.h"

/* Part of the protocol, as its size is: glibc's value is the first 32 bits, and what its waiters sleep on. */
_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the value is the lower half of 64 bits");

/* The kernel adds, and so is the one to meet a page that is gone. It wakes one waiter at the first address; none at the
 * second, because no value is below 0. */
int usrbio_post(sem_t *sem)
{
	const int add_one = FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_LT, 0);

	if (syscall(SYS_futex, sem, FUTEX_WAKE_OP, 1, 0ul, sem, add_one) >= 0)
		return 0;
	if (errno == EFAULT)
		return -EFAULT;
	fst3fs_sem_post(sem); /* a sandbox that refuses what is seldom used */
	return 0;
}

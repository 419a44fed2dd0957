/* SPDX-License-Identifier: Apache-2.0 */
/* Posting a semaphore whose memory is not only ours. */
#ifndef USRBIO_POST_H
#define USRBIO_POST_H

#include <semaphore.h>

/* sem_post() that an object cut short by another user cannot end the process with: 0, or -EFAULT, its page is gone. */
int usrbio_post(sem_t *sem);

#endif

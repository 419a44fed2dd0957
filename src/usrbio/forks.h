/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory fds of 3fs-virt/iovs that a child must not keep: the daemon lets registrations live for as long as any
 * copy of the fd is open, and exec alone closes it by itself.
 */
#ifndef USRBIO_FORKS_H
#define USRBIO_FORKS_H

struct usrbio_fork_guard {
	struct usrbio_fork_guard *next;
	int fd; /* -1 = none */
};

/* From now on a child made by fork() closes `fd`. */
void usrbio_fork_guard(struct usrbio_fork_guard *guard, int fd);
/* Closes the fd here. No child can get hold of it, or close a stranger under its number, in between. */
void usrbio_fork_unguard(struct usrbio_fork_guard *guard);

#endif

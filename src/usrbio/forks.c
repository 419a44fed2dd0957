/* SPDX-License-Identifier: Apache-2.0 */
#include "forks.h"

#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct usrbio_fork_guard *guards;

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
	for (struct usrbio_fork_guard *g = guards; g; g = g->next) {
		close(g->fd);
		g->fd = -1;
	}
	guards = NULL;
	pthread_mutex_unlock(&lock);
}

static void install(void)
{
	pthread_atfork(before_fork, after_fork, in_child);
}

void usrbio_fork_guard(struct usrbio_fork_guard *guard, int fd)
{
	pthread_once(&once, install);
	pthread_mutex_lock(&lock);
	guard->fd = fd;
	guard->next = guards;
	guards = guard;
	pthread_mutex_unlock(&lock);
}

void usrbio_fork_unguard(struct usrbio_fork_guard *guard)
{
	struct usrbio_fork_guard **at = &guards;

	pthread_mutex_lock(&lock);
	while (*at && *at != guard)
		at = &(*at)->next;
	if (*at) {
		*at = guard->next;
		/* Closing a directory does not wait for the daemon, so it may be done under the lock. */
		close(guard->fd);
		guard->fd = -1;
	}
	pthread_mutex_unlock(&lock);
}

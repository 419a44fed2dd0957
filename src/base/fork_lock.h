/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock of the whole process, which a fork waits for: so that a child does not find it held by a thread that it has
 * not.
 *
 * It is held for moments, and nothing is called under it: whoever forks may hold locks of the C library meanwhile,
 * which loading a library takes too.
 */
#ifndef FST3FS_FORK_LOCK_H
#define FST3FS_FORK_LOCK_H

#include <pthread.h>

/* Defines `name` in this file, unlocked. */
#define FST3FS_FORK_LOCK(name)                                                                                         \
	static pthread_mutex_t name = PTHREAD_MUTEX_INITIALIZER;                                                       \
	static void name##_take(void)                                                                                  \
	{                                                                                                              \
		pthread_mutex_lock(&name);                                                                             \
	}                                                                                                              \
	static void name##_give_back(void)                                                                             \
	{                                                                                                              \
		pthread_mutex_unlock(&name);                                                                           \
	}                                                                                                              \
	__attribute__((constructor)) static void name##_install(void)                                                  \
	{                                                                                                              \
		pthread_atfork(name##_take, name##_give_back, name##_give_back);                                       \
	}                                                                                                              \
	_Static_assert(1, "for a semicolon")

#endif

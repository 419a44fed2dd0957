/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads that run tasks in the order they were given.
 *
 * Threads are started when there is more to do than idle threads, up to a maximum, and block every signal, so that
 * the host process gets its signals on its own threads. A task may hang in the kernel (a file system whose daemon
 * is gone): fst3fs_pool_leave then lets go of the pool without waiting, and the last thread to come back frees it.
 */
#ifndef FST3FS_POOL_H
#define FST3FS_POOL_H

#include <stdbool.h>

struct fst3fs_pool;

/* Embedded in the caller's own structure; the pool does not touch it after `run` was called. */
struct fst3fs_task {
	void (*run)(struct fst3fs_task *task);
	struct fst3fs_task *next;
};

/* `name` (15 characters at most) is what a debugger shows. Returns NULL without memory. */
struct fst3fs_pool *fst3fs_pool_new(const char *name, int max_threads);
/* 0, or a negative errno when no thread could be started and none is running; then the task was not taken. */
int fst3fs_pool_run(struct fst3fs_pool *pool, struct fst3fs_task *task);
/* Waits until all tasks have run and all threads have ended, at most until `deadline_ns`; true if so. Then, or in any
 * case, the pool is gone for the caller. Tasks not yet started still run. NULL is fine. */
bool fst3fs_pool_leave(struct fst3fs_pool *pool, unsigned long long deadline_ns);

/* Starts one detached thread that blocks every signal. 0 or a negative errno. */
int fst3fs_thread_detach(const char *name, void *(*fn)(void *), void *arg);

#endif

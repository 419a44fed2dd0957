/* SPDX-License-Identifier: Apache-2.0 */
/* A reader, as its own files see it. */
#ifndef FST3FS_READER_I_H
#define FST3FS_READER_I_H

#include <pthread.h>
#include <sys/types.h>

#include "clock.h"
#include "files.h"
#include "fst3fs.h"
#include "log.h"
#include "pool.h"
#include "session.h"

struct fst3fs_call;

/* How often a thread that waits asks whether its caller was interrupted. */
#define FST3FS_GLANCE_NS (100 * FST3FS_NS_PER_MS)

/* Counters behind fst3fs_get_info. Under the reader's lock. */
struct fst3fs_counters {
	uint64_t reads, requests, bytes, bytes_posix, bytes_direct, io_wait_ns, copy_wait_ns, given_up;
};

struct fst3fs_reader {
	/* Set once. */
	pid_t pid; /* who made it: a child after fork may not use it */
	struct fst3fs_log log;
	int (*interrupted)(void *ctx);
	void *interrupted_ctx;
	uint64_t buffer_size;
	uint32_t timeout_ms;
	bool require_usrbio;
	char *mount_point; /* of the 3FS that is read through `main`; "" for none */
	char *sdk_path;
	const struct fst3fs_io_ops *main; /* NULL: everything through the operating system */
	struct fst3fs_layout layout;
	char why_not[768];
	struct fst3fs_files *files;
	struct fst3fs_pool *openers;

	pthread_mutex_t lock; /* everything below, and the session's insides */
	pthread_cond_t idle;  /* no call is left, or a release has ended */
	unsigned refs;	      /* the owner's, and one for each thread and memory that may outlive it */
	struct fst3fs_session *session;
	struct fst3fs_call *active, *waiting; /* circularly turned / in order of arrival */
	bool driving;			      /* a thread is in fst3fs_engine's loop */
	bool stale;			      /* the mount was replaced under the session */
	bool release_asked;		      /* by a callback, for when its call has ended */
	bool said_off_mount;
	unsigned releasing;
	struct fst3fs_memory *memories;
	struct fst3fs_io *memory_io; /* made for `memories`; under memory_lock */
	dev_t memory_dev;	     /* the mount that it was made on; likewise */
	struct fst3fs_waker memory_waker;
	pthread_mutex_t memory_lock;
	char devices[256];
	int page_locked;
	struct fst3fs_counters count;
};

void fst3fs_reader_unref(struct fst3fs_reader *r); /* takes the lock */

/* -EINVAL, "<what> is <value>, <rule>". */
int fst3fs_reader_refuse(struct fst3fs_error *err, const char *what, int64_t value, const char *rule);

/* Asks the callback of the options. On the thread of the call, without a lock. */
bool fst3fs_reader_asks_to_stop(const struct fst3fs_reader *r);

/* A session of this reader's settings. Without the lock. */
int fst3fs_reader_session_new(struct fst3fs_reader *r, struct fst3fs_session **out, struct fst3fs_error *err);

/* fst3fs_open with a transport of the caller's choice for the mount point; how tests put a fault transport in. */
int fst3fs_reader_open_with(const struct fst3fs_options *o, const struct fst3fs_io_ops *main, const char *mount_point,
			    struct fst3fs_reader **out, struct fst3fs_error *err);

/* 0, or the refusal of a reader that belongs to this process's parent. */
int fst3fs_reader_check(const struct fst3fs_reader *r, struct fst3fs_error *err);

/* ------------------------------------------------------------------ memory.c */

struct fst3fs_memory {
	struct fst3fs_region *region;
	uint64_t size;
	dev_t mount_dev;	      /* the mount whose daemon knows it; 0 for none */
	bool lost;		      /* a request into it never came back: nothing is read into it again */
	unsigned refs;		      /* its user's, and one for each thread that may still write into it */
	struct fst3fs_reader *reader; /* a reference: closing a reader leaves its memory valid */
	struct fst3fs_memory *next;
};

/* The memory that `address` lies in, or NULL. Under the lock. */
struct fst3fs_memory *fst3fs_memory_find(struct fst3fs_reader *r, uint64_t address);

#endif

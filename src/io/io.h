/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transport is: it reads ranges of open files into memory, several at a time, and says which have landed.
 *
 * A transport never blocks on storage and never touches a request's memory after it reported it as landed. The engine
 * calls start, flush, reap and probe under its own lock, so a transport sees one caller at a time; threads of the
 * transport tell the engine that something landed by posting the waker.
 */
#ifndef FST3FS_IO_H
#define FST3FS_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "waker.h"

struct fst3fs_io;     /* one open transport; each kind embeds it as its first member */
struct fst3fs_region; /* memory that this transport can read into */

/* An open file as a transport sees it. The fd stays open for as long as a request on it is in flight. */
struct fst3fs_io_file {
	int fd;
	uint64_t ino;
	void *priv; /* the transport's own, between its file_open and file_close */
};

struct fst3fs_io_req {
	/* In, kept by the engine until the request was reaped. */
	const struct fst3fs_io_file *file;
	uint64_t offset;
	uint64_t length;
	void *buf;		      /* inside `region` when the transport needs one */
	struct fst3fs_region *region; /* NULL for transports that read into any memory */
	/* Out. */
	int64_t result; /* bytes read or a negative errno */
	/* The transport's own while the request is in flight. */
	struct fst3fs_io_req *next;
	void *priv;
};

/* Memory made by a transport. `base` is page-aligned. */
struct fst3fs_region {
	const struct fst3fs_io_ops *ops;
	uint8_t *base;
	size_t size;
	size_t huge;  /* bytes that were put into huge pages when it was made */
	size_t block; /* no request crosses a multiple of this offset; 0 = one block */
};

struct fst3fs_io_config {
	const char *mount_point; /* "" for none */
	const char *sdk_path;
	int entries; /* most requests in flight at a time; 0 = none, the transport is wanted for its regions alone */
	uint32_t timeout_ms;
	struct fst3fs_waker *waker; /* the transport may lend it a semaphore while it opens */
};

struct fst3fs_io_ops {
	size_t size; /* sizeof(struct fst3fs_io_ops): a table of another layout is a build gone wrong */
	const char *name;
	const char *descr;

	/* Required. Everything that the transport needs to run, except buffers. */
	int (*open)(const struct fst3fs_io_config *config, struct fst3fs_io **out, struct fst3fs_error *err);
	/* Required. Ends the transport, which has no request in flight, or is given up with them (`given_up`): then
	 * memory that they could still write into must stay out of anybody else's hands, or the call waits for them.
	 * Waits until `deadline_ns` at most for what must be cleared away on the mount, and leaves the rest to a thread
	 * of its own. */
	void (*close)(struct fst3fs_io *io, bool given_up, uint64_t deadline_ns);
	/* Required. "built-in", a library's path, or "". */
	const char *(*client)(const struct fst3fs_io *io);

	/* Required. Page-aligned memory to read into, in blocks that no request crosses (0 = one block). A region may
	 * outlive its transport. `numa` -1 = anywhere. */
	int (*region_new)(struct fst3fs_io *io, size_t size, size_t block_size, int numa, struct fst3fs_region **out,
			  struct fst3fs_error *err);
	void (*region_free)(struct fst3fs_region *region);

	/* Required. Starts reading. 0 = in flight; -EAGAIN = full, reap and try again; another errno = refused. */
	int (*start)(struct fst3fs_io *io, struct fst3fs_io_req *req);
	/* Optional. Called after a run of `start`: whatever was queued must now be on its way. */
	void (*flush)(struct fst3fs_io *io);
	/* Required. Up to `max` requests that have landed, their `result` set; or a negative errno when the transport
	 * is broken and must be given up. */
	int (*reap)(struct fst3fs_io *io, struct fst3fs_io_req **out, int max);
	/* Optional, both or none. What the transport does with a file after it was opened, and before it is closed; it
	 * may be a file of another mount. Like opening and closing, the two may block, and happen on any thread. */
	int (*file_open)(const char *sdk_path, struct fst3fs_io_file *file, struct fst3fs_error *err);
	void (*file_close)(struct fst3fs_io_file *file);
	/* Optional. Called now and then while nothing lands: 0, or a negative errno when the far side is gone. May not
	 * block. */
	int (*probe)(struct fst3fs_io *io);
	/* Optional. What a request's negative result means to a user of this transport, or NULL when strerror says it
	 * all. */
	const char *(*explain)(int code);
};

struct fst3fs_io {
	const struct fst3fs_io_ops *ops;
};

extern const struct fst3fs_io_ops fst3fs_io_posix;  /* pread on any file system, into any memory */
extern const struct fst3fs_io_ops fst3fs_io_usrbio; /* USRBIO through the client in this library */
extern const struct fst3fs_io_ops fst3fs_io_sdk;    /* USRBIO through the official library */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open files of a reader, by path.
 *
 * Files stay open between reads and are revalidated when asked for: a file replaced under its name is opened anew, and
 * the old one is closed when the last read on it has ended. When there are many, the least recently used ones that
 * no read needs are closed, so that a reader never takes more than half of the process's file descriptors.
 *
 * Threads: any. System calls on the files are made without a lock held.
 */
#ifndef FST3FS_FILES_H
#define FST3FS_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "io.h"

struct fst3fs_files;

struct fst3fs_file {
	struct fst3fs_io_file io;
	dev_t dev;
	uint64_t size; /* as fstat last said */
	uint64_t blksize;
	/* files.c's own */
	const struct fst3fs_io_ops *ops; /* the transport that wants to know when it is closed, or NULL */
	unsigned refs;
	bool listed;
	struct fst3fs_file *newer, *older;
	char path[];
};

/* `ops` is the transport of the mount, NULL for none, and `sdk_path` its library's; both outlive the table. */
struct fst3fs_files *fst3fs_files_new(const struct fst3fs_io_ops *ops, const char *sdk_path);

/* The file under `path`, opened or revalidated; `blocks` while the mount does. Undone by fst3fs_files_put.
 * -EISDIR a directory; -EINVAL not a regular file; or what open said. */
int fst3fs_files_get(struct fst3fs_files *files, const char *path, struct fst3fs_file **out, struct fst3fs_error *err);
void fst3fs_files_put(struct fst3fs_files *files, struct fst3fs_file *file);

bool fst3fs_files_has(struct fst3fs_files *files, const char *path);
unsigned fst3fs_files_count(struct fst3fs_files *files);

/* Takes every file out of the table and closes those that no read needs on a thread of their own (closing blocks while
 * the daemon of their mount hangs); waits for that until `deadline_ns`. */
void fst3fs_files_drop(struct fst3fs_files *files, uint64_t deadline_ns);
/* When no file is held. */
void fst3fs_files_free(struct fst3fs_files *files);

#endif

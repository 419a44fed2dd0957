/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clock.h"
#include "pool.h"

struct fst3fs_files {
	pthread_mutex_t lock;
	void *by_path; /* a tsearch tree of struct fst3fs_file */
	struct fst3fs_file *newest, *oldest;
	unsigned listed;
	unsigned limit;
	const struct fst3fs_io_ops *ops; /* a transport with hooks for files, or NULL */
	const char *sdk_path;
};

/* ------------------------------------------------------------------ the table (under the lock) */

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The tree's keys are pointers to a path; a file's own begins with one, so that nothing else need be allocated. */
struct node {
	const char *path;
	struct fst3fs_file *file;
};

static struct fst3fs_file *lookup(struct fst3fs_files *files, const char *path)
{
	struct node **found = tfind(&(struct node){.path = path}, &files->by_path, compare_paths);

	return found ? (*found)->file : NULL;
}

static void use_order_remove(struct fst3fs_files *files, struct fst3fs_file *file)
{
	*(file->newer ? &file->newer->older : &files->newest) = file->older;
	*(file->older ? &file->older->newer : &files->oldest) = file->newer;
}

static void use_order_add(struct fst3fs_files *files, struct fst3fs_file *file)
{
	file->older = files->newest;
	file->newer = NULL;
	*(files->newest ? &files->newest->newer : &files->oldest) = file;
	files->newest = file;
}

static void unlist(struct fst3fs_files *files, struct fst3fs_file *file)
{
	struct node **found = tfind(&(struct node){.path = file->path}, &files->by_path, compare_paths);
	struct node *node = *found;

	tdelete(node, &files->by_path, compare_paths);
	free(node);
	use_order_remove(files, file);
	file->listed = false;
	files->listed--;
}

static bool list(struct fst3fs_files *files, struct fst3fs_file *file)
{
	struct node *node = malloc(sizeof(*node));

	if (!node)
		return false;
	*node = (struct node){.path = file->path, .file = file};
	if (!tsearch(node, &files->by_path, compare_paths)) {
		free(node);
		return false;
	}
	use_order_add(files, file);
	file->listed = true;
	files->listed++;
	return true;
}

/* Takes up to `count` files that nobody holds out of the table, oldest first; a chain through `older`. */
static struct fst3fs_file *evict(struct fst3fs_files *files, unsigned count)
{
	struct fst3fs_file *chain = NULL, *file = files->oldest;

	while (file && count > 0) {
		struct fst3fs_file *newer = file->newer;

		if (file->refs == 0) {
			unlist(files, file);
			file->older = chain;
			chain = file;
			count--;
		}
		file = newer;
	}
	return chain;
}

/* ------------------------------------------------------------------ files */

static void close_file(struct fst3fs_file *file)
{
	if (file->ops)
		file->ops->file_close(&file->io);
	close(file->io.fd);
	free(file);
}

static void close_chain(struct fst3fs_file *chain)
{
	while (chain) {
		struct fst3fs_file *next = chain->older;

		close_file(chain);
		chain = next;
	}
}

struct drop {
	struct fst3fs_task task;
	struct fst3fs_file *chain;
};

static void drop_run(struct fst3fs_task *task)
{
	struct drop *drop = (struct drop *)task;

	close_chain(drop->chain);
	free(drop);
}

/* On a thread of its own, which is waited for until `deadline_ns`: closing blocks while the daemon hangs. */
static void close_elsewhere(struct fst3fs_file *chain, uint64_t deadline_ns)
{
	struct fst3fs_pool *pool = fst3fs_pool_new("fst3fs-close", 1);
	struct drop *drop = malloc(sizeof(*drop));

	if (drop)
		*drop = (struct drop){.task.run = drop_run, .chain = chain};
	if (!pool || !drop || fst3fs_pool_run(pool, &drop->task) < 0) {
		close_chain(chain); /* no thread to be had: better to block than to leak */
		free(drop);
	}
	fst3fs_pool_leave(pool, deadline_ns);
}

static int open_retrying(struct fst3fs_files *files, const char *path)
{
	/* O_NONBLOCK: opening a FIFO by mistake must not wait for a writer. It means nothing to regular files. */
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct fst3fs_file *chain;
	int fd = open(path, flags);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
		return fd >= 0 ? fd : -errno;
	pthread_mutex_lock(&files->lock);
	chain = evict(files, 64);
	pthread_mutex_unlock(&files->lock);
	close_chain(chain);
	fd = open(path, flags);
	return fd >= 0 ? fd : -errno;
}

static int check_type(const struct stat *st, struct fst3fs_error *err)
{
	if (S_ISDIR(st->st_mode))
		return fst3fs_err_set(err, -EISDIR, "%s", fst3fs_strerror(EISDIR));
	if (!S_ISREG(st->st_mode))
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "not a regular file");
	return 0;
}

static int open_file(struct fst3fs_files *files, const char *path, struct fst3fs_file **out, struct fst3fs_error *err)
{
	size_t bytes = strlen(path) + 1;
	struct fst3fs_file *file;
	struct stat st;
	int rc, fd = open_retrying(files, path);

	if (fd < 0)
		return fst3fs_err_set(err, fd, "%s", fst3fs_strerror(fd));
	rc = -ENOMEM;
	file = calloc(1, sizeof(*file) + bytes);
	if (!file) {
		fst3fs_err_set(err, rc, "no memory for an open file");
		goto out_close;
	}
	rc = fstat(fd, &st) == 0 ? 0 : -errno;
	if (rc < 0)
		fst3fs_err_set(err, rc, "fstat: %s", fst3fs_strerror(rc));
	else
		rc = check_type(&st, err);
	if (rc < 0)
		goto out_close;
	file->io.fd = fd;
	file->io.ino = st.st_ino;
	file->dev = st.st_dev;
	file->size = (uint64_t)st.st_size;
	file->blksize = st.st_blksize > 0 ? (uint64_t)st.st_blksize : 1;
	file->refs = 1;
	memcpy(file->path, path, bytes);
	if (files->ops)
		rc = files->ops->file_open(files->sdk_path, &file->io, err);
	if (rc < 0)
		goto out_close;
	file->ops = files->ops;
	*out = file;
	return 0;
out_close:
	free(file);
	close(fd);
	return rc;
}

/* Is `file` still what its path names? Updates its size. The kernel may cache names and attributes for half a minute;
 * FORCE_SYNC asks the file system itself, so that a change made on another host shows. */
static bool still_there(struct fst3fs_file *file)
{
	struct statx sx;

	if (statx(AT_FDCWD, file->path, AT_STATX_FORCE_SYNC, STATX_INO | STATX_SIZE | STATX_TYPE | STATX_NLINK, &sx) !=
	    0)
		return false;
	if (makedev(sx.stx_dev_major, sx.stx_dev_minor) != file->dev || sx.stx_ino != file->io.ino || sx.stx_nlink == 0)
		return false;
	__atomic_store_n(&file->size, sx.stx_size, __ATOMIC_RELAXED); /* readers may be using the file meanwhile */
	return true;
}

struct fst3fs_files *fst3fs_files_new(const struct fst3fs_io_ops *ops, const char *sdk_path)
{
	struct fst3fs_files *files = calloc(1, sizeof(*files));
	struct rlimit limit;

	if (!files)
		return NULL;
	pthread_mutex_init(&files->lock, NULL);
	files->limit = 512;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		files->limit = limit.rlim_cur / 2 < UINT_MAX ? (unsigned)(limit.rlim_cur / 2) : UINT_MAX;
	if (ops && ops->file_open) {
		files->ops = ops;
		files->sdk_path = sdk_path;
		files->limit /= 2; /* the library keeps a copy of every fd */
	}
	return files;
}

static struct fst3fs_file *take(struct fst3fs_files *files, const char *path)
{
	struct fst3fs_file *file;

	pthread_mutex_lock(&files->lock);
	file = lookup(files, path);
	if (file) {
		file->refs++;
		use_order_remove(files, file);
		use_order_add(files, file);
	}
	pthread_mutex_unlock(&files->lock);
	return file;
}

int fst3fs_files_get(struct fst3fs_files *files, const char *path, struct fst3fs_file **out, struct fst3fs_error *err)
{
	struct fst3fs_file *chain = NULL, *old, *file = take(files, path);
	int rc;

	if (file && still_there(file)) {
		*out = file;
		return 0;
	}
	if (file)
		fst3fs_files_put(files, file);
	rc = open_file(files, path, &file, err);
	if (rc < 0) {
		fst3fs_err_set_path(err, path);
		return rc;
	}
	pthread_mutex_lock(&files->lock);
	old = lookup(files, path);
	if (old) {
		unlist(files, old);
		old->older = NULL;
		chain = old->refs == 0 ? old : NULL;
	}
	list(files, file); /* a file that cannot be listed is closed when its read ends */
	if (files->listed > files->limit && !chain)
		chain = evict(files, files->listed - files->limit);
	pthread_mutex_unlock(&files->lock);
	close_chain(chain);
	*out = file;
	return 0;
}

void fst3fs_files_put(struct fst3fs_files *files, struct fst3fs_file *file)
{
	bool last;

	pthread_mutex_lock(&files->lock);
	last = --file->refs == 0 && !file->listed;
	pthread_mutex_unlock(&files->lock);
	if (!last)
		return;
	file->older = NULL;
	close_elsewhere(file, 0);
}

bool fst3fs_files_has(struct fst3fs_files *files, const char *path)
{
	bool has;

	pthread_mutex_lock(&files->lock);
	has = lookup(files, path) != NULL;
	pthread_mutex_unlock(&files->lock);
	return has;
}

unsigned fst3fs_files_count(struct fst3fs_files *files)
{
	unsigned count;

	pthread_mutex_lock(&files->lock);
	count = files->listed;
	pthread_mutex_unlock(&files->lock);
	return count;
}

/* ------------------------------------------------------------------ letting go of all */

void fst3fs_files_drop(struct fst3fs_files *files, uint64_t deadline_ns)
{
	struct fst3fs_file *chain;

	pthread_mutex_lock(&files->lock);
	chain = evict(files, UINT_MAX);
	while (files->oldest)
		unlist(files, files->oldest); /* held by a read: closed when that lets go */
	pthread_mutex_unlock(&files->lock);
	if (chain)
		close_elsewhere(chain, deadline_ns);
}

void fst3fs_files_free(struct fst3fs_files *files)
{
	if (!files)
		return;
	fst3fs_files_drop(files, 0); /* an opening that took long may have ended after the last drop */
	pthread_mutex_destroy(&files->lock);
	free(files);
}

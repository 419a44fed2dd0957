/* SPDX-License-Identifier: Apache-2.0 */
#include "hf3fs_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#include "hf3fs_usrbio.h"
#include "usrbio.h"

enum { LEAF = 512 };

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
/* NULL where nothing is registered. */
struct leaf {
	struct hf3fs_file *file[LEAF];
};

static struct leaf **leaves; /* leaves[fd / LEAF]->file[fd % LEAF] */
static int leaf_count;

void hf3fs_fds_lock(void)
{
	pthread_rwlock_wrlock(&lock);
}

void hf3fs_fds_unlock(void)
{
	pthread_rwlock_unlock(&lock);
}

/* A lock for writing belongs to a thread, by its number, and the child's thread has another: it cannot unlock. */
void hf3fs_fds_unlock_in_child(void)
{
#ifdef __SANITIZE_THREAD__
	/* TSan, which sees calls alone, would take it for held for ever. */
	__tsan_mutex_pre_unlock(&lock, 0);
	__tsan_mutex_post_unlock(&lock, 0);
#endif
	lock = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
}

/* The place of an fd or a handle, which is minus the number of our copy; NULL when the table does not reach so far. */
static struct hf3fs_file **place(int fd)
{
	if (fd == INT_MIN)
		return NULL;
	fd = abs(fd);
	if (fd / LEAF >= leaf_count || !leaves[fd / LEAF])
		return NULL;
	return &leaves[fd / LEAF]->file[fd % LEAF];
}

/* The same, and makes the table reach so far; NULL without memory. */
static struct hf3fs_file **make_place(int fd)
{
	const int need = fd / LEAF + 1;
	struct leaf **grown;

	if (need > leaf_count) {
		grown = realloc(leaves, (size_t)need * sizeof(struct leaf *));
		if (!grown)
			return NULL;
		memset(grown + leaf_count, 0, (size_t)(need - leaf_count) * sizeof(struct leaf *));
		leaves = grown;
		leaf_count = need;
	}
	if (!leaves[fd / LEAF])
		leaves[fd / LEAF] = calloc(1, sizeof(struct leaf));
	return place(fd);
}

static struct hf3fs_file *lookup(int fd)
{
	struct hf3fs_file **at = place(fd);

	return at ? *at : NULL;
}

int hf3fs_file_find(int fd, struct hf3fs_file *out)
{
	const struct hf3fs_file *file;

	pthread_rwlock_rdlock(&lock);
	file = lookup(fd);
	if (file)
		*out = *file;
	pthread_rwlock_unlock(&lock);
	return file ? 0 : -EBADF;
}

static int describe(int fd, struct hf3fs_file *file)
{
	int flags = fcntl(fd, F_GETFL), is_3fs;
	struct stat st;

	if (flags < 0)
		return errno;
	is_3fs = usrbio_fd_is_3fs(fd);
	if (is_3fs <= 0)
		return is_3fs < 0 ? -is_3fs : EBADF;
	if (fstat(fd, &st) < 0)
		return errno;
	*file = (struct hf3fs_file){
		.fd = fd, .dup = -1, .access = flags & O_ACCMODE, .ino = st.st_ino, .dev = st.st_dev};
	return 0;
}

/* Enters a file under both its numbers, or under none. */
static int enter(struct hf3fs_file *file)
{
	if (!make_place(file->fd) || !make_place(file->dup))
		return ENOMEM;
	if (lookup(file->fd) || lookup(file->dup))
		return EINVAL;
	*place(file->fd) = file;
	*place(file->dup) = file;
	return 0;
}

int hf3fs_reg_fd(int fd, uint64_t flags)
{
	struct hf3fs_file *file = calloc(1, sizeof(*file));
	int rc, handle;

	(void)flags; /* none is defined */
	if (!file)
		return ENOMEM;
	rc = describe(fd, file);
	if (rc) {
		free(file);
		return rc;
	}
	/* Not 0 to 2: a program that closed those expects to get them back, and a handle of 0 would be no handle. */
	file->dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	handle = -file->dup;
	if (file->dup < 0) {
		rc = errno;
		free(file);
		return rc;
	}
	pthread_rwlock_wrlock(&lock);
	rc = enter(file);
	pthread_rwlock_unlock(&lock);
	if (rc) {
		close(file->dup);
		free(file);
		return rc;
	}
	return handle;
}

void hf3fs_dereg_fd(int fd)
{
	struct hf3fs_file *file;

	pthread_rwlock_wrlock(&lock);
	file = lookup(fd);
	if (file) {
		*place(file->fd) = NULL;
		*place(file->dup) = NULL;
	}
	pthread_rwlock_unlock(&lock);
	if (!file)
		return;
	close(file->dup);
	free(file);
}

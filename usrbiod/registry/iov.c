/* SPDX-License-Identifier: Apache-2.0 */
#include "iov.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pages.h"

#define SHM_DIR "/dev/shm/"

void iov_get(struct iov *iov)
{
	atomic_fetch_add(&iov->refs, 1);
}

void iov_put(struct iov *iov)
{
	if (atomic_fetch_sub(&iov->refs, 1) > 1)
		return;
	munmap(iov->base, iov->size);
	free(iov);
}

/* May this user read and write the object without the daemon's help? */
static bool owns_object(const struct stat *st, const struct caller *caller)
{
	if (caller->uid == 0 || caller->uid == st->st_uid)
		return true;
	if (caller->gid == st->st_gid)
		return (st->st_mode & 0060) == 0060;
	return (st->st_mode & 0006) == 0006;
}

static int check_object(const struct stat *st, const struct key *key, const struct caller *caller)
{
	if (!S_ISREG(st->st_mode) || st->st_size <= 0)
		return -EINVAL;
	if (key->block_size > (uint64_t)st->st_size)
		return -EINVAL;
	return owns_object(st, caller) ? 0 : -EACCES;
}

static int map_object(struct iov *iov)
{
	const char *name = iov->target + strlen(SHM_DIR);
	struct stat st;
	int fd, rc;

	if (strncmp(iov->target, SHM_DIR, strlen(SHM_DIR)) || !*name || strchr(name, '/'))
		return -EINVAL;
	/* O_NONBLOCK: a client may offer a FIFO. */
	fd = open(iov->target, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		return -ENOMEM; /* the daemon's own want, and no bound of the client's */
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == EISDIR ? -EINVAL : -errno;
	rc = fstat(fd, &st) ? -errno : check_object(&st, &iov->key, &iov->owner);
	if (rc == 0) {
		void *base;

		if (fst3fs_pages_map_shared(fd, (size_t)st.st_size, &base) < 0) {
			rc = -EIO;
		} else {
			iov->base = base;
			iov->size = (size_t)st.st_size;
		}
	}
	close(fd);
	return rc;
}

int iov_new(const char *name, bool strict, const char *target, const struct caller *caller, struct iov **out)
{
	struct iov *iov;
	int rc;

	if (strlen(name) > IOV_NAME_MAX || strlen(target) > IOV_NAME_MAX)
		return -ENAMETOOLONG;
	iov = calloc(1, sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	atomic_init(&iov->refs, 1);
	iov->owner = *caller;
	iov->created = time(NULL);
	strcpy(iov->name, name);
	strcpy(iov->target, target);
	rc = key_parse(name, strict, &iov->key);
	/* The real daemon crashes on a ring without any attribute. */
	if (rc == 0 && iov->key.is_ring && !iov->key.has_ring_attr)
		rc = -EINVAL;
	if (rc == 0)
		rc = map_object(iov);
	if (rc) {
		free(iov);
		return rc;
	}
	*out = iov;
	return 0;
}

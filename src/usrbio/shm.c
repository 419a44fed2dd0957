/* SPDX-License-Identifier: Apache-2.0 */
#include "shm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "key.h"
#include "owner.h"
#include "pages.h"

#define MIB (1024.0 * 1024.0)

/* Space is reserved in steps, because a signal makes tmpfs give back what the interrupted call had got. */
static const size_t reserve_step = 64ul << 20;

static int create_name(struct usrbio_shm *shm, struct fst3fs_error *err)
{
	struct usrbio_owner self = usrbio_owner_self();
	int fd, rc;

	do {
		char uuid[USRBIO_UUID_SIZE];

		rc = usrbio_owner_encode(&self, shm->id);
		if (rc < 0)
			return fst3fs_err_set(err, rc, "no random numbers: %s", fst3fs_strerror(rc));
		usrbio_uuid_print(shm->id, uuid);
		snprintf(shm->path, sizeof(shm->path), USRBIO_SHM_DIR "/" USRBIO_SHM_PREFIX "%s", uuid);
		fd = open(shm->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	} while (fd < 0 && errno == EEXIST);
	if (fd >= 0)
		return fd;
	rc = -errno;
	fst3fs_err_set(err, rc, "cannot create %s: %s", shm->path, fst3fs_strerror(rc));
	shm->path[0] = '\0';
	return rc;
}

static int no_space(int fd, int code, size_t size, struct fst3fs_error *err)
{
	struct statvfs vfs = {0};

	fstatvfs(fd, &vfs);
	return fst3fs_err_set(
		err, code,
		"%s: cannot reserve %.1f MiB in " USRBIO_SHM_DIR ", where %.1f of %.1f MiB are free; make it "
		"larger (containers: docker run --shm-size=<size>, or share the host's with --ipc=host) or "
		"ask for a smaller buffer",
		fst3fs_strerror(code), (double)size / MIB, (double)vfs.f_bavail * (double)vfs.f_frsize / MIB,
		(double)vfs.f_blocks * (double)vfs.f_frsize / MIB);
}

/* Asked first, because reserving in steps would fill the memory of the machine before it fails. */
static bool has_room(int fd, size_t size)
{
	struct statvfs vfs;

	/* Without a limit there are 0 blocks. */
	return fstatvfs(fd, &vfs) < 0 || vfs.f_blocks == 0 || size / vfs.f_frsize <= vfs.f_bavail;
}

static int reserve(int fd, size_t size)
{
	int rc = 0;

	for (size_t at = 0; at < size && rc == 0; at += reserve_step) {
		size_t len = size - at < reserve_step ? size - at : reserve_step;

		do
			rc = posix_fallocate(fd, (off_t)at, (off_t)len);
		while (rc == EINTR);
	}
	return -rc;
}

/* Says where pages of the object should come from. The policy belongs to the object, so it goes before reserving. */
static int prefer_node(void *base, size_t size, int numa)
{
	unsigned long mask[16] = {0};
	const int bits = 8 * sizeof(mask[0]);

	if (numa < 0)
		return 0;
	if (numa >= 16 * bits)
		return -EINVAL;
	mask[numa / bits] = 1ul << numa % bits;
	/* Kernels without NUMA, and containers that may not set policies: it is only a preference. */
	if (syscall(SYS_mbind, base, size, MPOL_PREFERRED, mask, sizeof(mask) * 8, 0u) < 0 && errno == EINVAL)
		return -EINVAL;
	return 0;
}

static int map(struct usrbio_shm *shm, int fd)
{
	void *base;
	int rc = fst3fs_pages_map_shared(fd, shm->size, &base);

	if (rc == 0)
		shm->base = base;
	return rc;
}

static int fill(struct usrbio_shm *shm, int fd, const struct usrbio_shm_attr *attr, struct fst3fs_error *err)
{
	int rc;

	if (!has_room(fd, attr->size))
		return no_space(fd, -ENOSPC, attr->size, err);
	rc = ftruncate(fd, (off_t)attr->size) < 0 ? -errno : map(shm, fd);
	if (rc < 0)
		return fst3fs_err_set(err, rc, "cannot map %zu bytes: %s", attr->size, fst3fs_strerror(rc));
	rc = prefer_node(shm->base, shm->size, attr->numa);
	if (rc < 0)
		return fst3fs_err_set(err, rc, "there is no NUMA node %d", attr->numa);
	if (!attr->keep_fork)
		madvise(shm->base, shm->size, MADV_DONTFORK);
	/* Also a tenth of the daemon's work when it registers the buffer or first writes to it. */
	shm->huge = fst3fs_pages_fill(shm->base, shm->size);
	rc = reserve(fd, attr->size);
	return rc < 0 ? no_space(fd, rc, attr->size, err) : 0;
}

int usrbio_shm_create(struct usrbio_shm *shm, const struct usrbio_shm_attr *attr, struct fst3fs_error *err)
{
	int fd, rc;

	*shm = (struct usrbio_shm){.size = attr->size};
	if (attr->size == 0 || attr->size > INT64_MAX)
		return fst3fs_err_set(err, -EINVAL, "a buffer of %zu bytes", attr->size);
	fd = create_name(shm, err);
	if (fd < 0)
		return fd;
	rc = fill(shm, fd, attr, err);
	close(fd);
	if (rc < 0) {
		usrbio_shm_unlink(shm);
		usrbio_shm_unmap(shm);
	}
	return rc;
}

bool usrbio_shm_path_ok(const char *path)
{
	const size_t dir = strlen(USRBIO_SHM_DIR "/");

	return strncmp(path, USRBIO_SHM_DIR "/", dir) == 0 && path[dir] && path[dir] != '.' &&
	       !strchr(path + dir, '/') && strlen(path) < USRBIO_SHM_PATH_SIZE;
}

int usrbio_shm_open(struct usrbio_shm *shm, const char *path, size_t size)
{
	struct stat st;
	int fd, rc;

	*shm = (struct usrbio_shm){.size = size};
	if (size == 0 || !usrbio_shm_path_ok(path))
		return -EINVAL;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	/* Beyond the object's end a mapping faults. */
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < size)
		rc = -EINVAL;
	else
		rc = map(shm, fd);
	close(fd);
	if (rc == 0)
		snprintf(shm->path, sizeof(shm->path), "%s", path);
	return rc;
}

static int secure(int fd, const char *path, size_t size, struct fst3fs_error *err)
{
	struct stat st;
	size_t missing;
	int rc;

	if (fchmod(fd, 0600) < 0 || fstat(fd, &st) < 0)
		return fst3fs_err_set(err, -errno, "cannot keep other users out of %s: %s", path,
				      fst3fs_strerror(errno));
	missing = (uint64_t)st.st_blocks * 512 < size ? size - (size_t)st.st_blocks * 512 : 0;
	rc = has_room(fd, missing) ? reserve(fd, size) : -ENOSPC;
	return rc < 0 ? no_space(fd, rc, size, err) : 0;
}

int usrbio_shm_secure(const char *path, size_t size, struct fst3fs_error *err)
{
	int fd, rc;

	if (!usrbio_shm_path_ok(path))
		return fst3fs_err_set(err, -EINVAL, "%s is not in " USRBIO_SHM_DIR, path);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fst3fs_err_set(err, -errno, "%s: %s", path, fst3fs_strerror(errno));
	rc = secure(fd, path, size, err);
	close(fd);
	return rc;
}

void usrbio_shm_unlink(struct usrbio_shm *shm)
{
	if (shm->path[0])
		unlink(shm->path);
	shm->path[0] = '\0';
}

void usrbio_shm_unmap(struct usrbio_shm *shm)
{
	if (shm->base)
		munmap(shm->base, shm->size);
	shm->base = NULL;
}

/* Is `name` in /dev/shm an object of ours whose owner is gone? */
static bool is_left_over(const char *name, const struct usrbio_owner *self)
{
	const size_t prefix = strlen(USRBIO_SHM_PREFIX);
	struct usrbio_owner owner;
	uint8_t id[16];

	return strncmp(name, USRBIO_SHM_PREFIX, prefix) == 0 && strlen(name) == prefix + USRBIO_UUID_SIZE - 1 &&
	       usrbio_uuid_parse(name + prefix, id) && usrbio_owner_decode(id, &owner) &&
	       usrbio_owner_is_dead(&owner, self);
}

int usrbio_shm_sweep(void)
{
	struct usrbio_owner self = usrbio_owner_self();
	DIR *dir = opendir(USRBIO_SHM_DIR);
	struct dirent *entry;
	int swept = 0;

	if (!dir)
		return 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this directory stream */
	while ((entry = readdir(dir)) != NULL)
		if (is_left_over(entry->d_name, &self) && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			swept++;
	closedir(dir);
	return swept;
}

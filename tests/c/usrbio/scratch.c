/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "key.h"
#include "owner.h"
#include "shm.h"

void scratch_make(struct scratch *s)
{
	char path[160], target[160];

	snprintf(s->dir, sizeof(s->dir), "/tmp/usrbio-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(path, sizeof(path), "%s/3fs-virt", s->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(s->iovs, sizeof(s->iovs), "%s/3fs-virt/iovs", s->dir);
	assert_int_equal(mkdir(s->iovs, 0755), 0);
	snprintf(s->sem_name, sizeof(s->sem_name), "/usrbio-test-%s", s->dir + strlen(s->dir) - 6);
	s->sem = sem_open(s->sem_name, O_CREAT | O_EXCL, 0600, 0);
	assert_ptr_not_equal(s->sem, SEM_FAILED);
	snprintf(path, sizeof(path), "%s/submit-ios", s->iovs);
	snprintf(target, sizeof(target), "/dev/shm/sem.%s", s->sem_name + 1);
	assert_int_equal(symlink(target, path), 0);
}

void scratch_remove(struct scratch *s)
{
	char path[160];

	sem_close(s->sem);
	sem_unlink(s->sem_name);
	snprintf(path, sizeof(path), "%s/submit-ios", s->iovs);
	unlink(path);
	assert_int_equal(rmdir(s->iovs), 0);
	snprintf(path, sizeof(path), "%s/3fs-virt", s->dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(s->dir), 0);
}

static int count(const char *path, bool (*wanted)(const char *name, pid_t pid), pid_t pid)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this directory stream */
	while ((entry = readdir(dir)) != NULL)
		n += wanted(entry->d_name, pid);
	closedir(dir);
	return n;
}

static bool is_registration(const char *name, pid_t pid)
{
	(void)pid;
	return name[0] != '.' && strncmp(name, "submit-ios", 10) != 0;
}

int scratch_links(const struct scratch *s)
{
	return count(s->iovs, is_registration, 0);
}

void scratch_remove_links(const struct scratch *s)
{
	DIR *dir = opendir(s->iovs);
	struct dirent *entry;

	assert_non_null(dir);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this directory stream */
	while ((entry = readdir(dir)) != NULL)
		if (is_registration(entry->d_name, 0))
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static bool is_owned(const char *name, pid_t pid)
{
	const size_t prefix = strlen(USRBIO_SHM_PREFIX);
	struct usrbio_owner owner;
	uint8_t id[16];

	return strncmp(name, USRBIO_SHM_PREFIX, prefix) == 0 && usrbio_uuid_parse(name + prefix, id) &&
	       usrbio_owner_decode(id, &owner) && owner.pid == pid;
}

int scratch_shm_objects_of(pid_t pid)
{
	return count(USRBIO_SHM_DIR, is_owned, pid);
}

int scratch_shm_objects(void)
{
	return scratch_shm_objects_of(getpid());
}

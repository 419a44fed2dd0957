/* SPDX-License-Identifier: Apache-2.0 */
#include "iovs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "usrbiod.h"

#define SHM_DIR "/dev/shm/"

enum {
	MAX_IOVS = 16384,
};

struct iovs {
	struct usrbiod *d;
	pthread_mutex_t lock;
	struct iov *first, **last; /* by serial */
	uint64_t serial;
	int count;
};

struct iovs *iovs_new(struct usrbiod *d)
{
	struct iovs *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->d = d;
	t->last = &t->first;
	pthread_mutex_init(&t->lock, NULL);
	return t;
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
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == EISDIR ? -EINVAL : -errno;
	rc = fstat(fd, &st) ? -errno : check_object(&st, &iov->key, &iov->owner);
	if (rc == 0) {
		void *base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (base == MAP_FAILED) {
			rc = -EIO;
		} else {
			iov->base = base;
			iov->size = (size_t)st.st_size;
		}
	}
	close(fd);
	return rc;
}

/* A registration that nobody can find yet: parsed, mapped, and a ring made of it if it is one. */
static int iov_new(struct iovs *t, const char *name, const char *target, const struct caller *caller, struct iov **out)
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
	rc = key_parse(name, &iov->key);
	/* The real daemon crashes on a ring without any attribute. */
	if (rc == 0 && iov->key.is_ring && !iov->key.has_ring_attr)
		rc = -EINVAL;
	if (rc == 0)
		rc = map_object(iov);
	if (rc) {
		free(iov);
		return rc;
	}
	if (iov->key.is_ring) {
		rc = ring_new(t->d, iov, &iov->ring);
		if (rc) {
			iov_put(iov);
			return rc;
		}
	}
	*out = iov;
	return 0;
}

static struct iov *find_name(struct iovs *t, const char *name)
{
	struct iov *iov = t->first;

	while (iov && strcmp(iov->name, name))
		iov = iov->next;
	return iov;
}

static struct iov *find_id(struct iovs *t, const uint8_t id[16])
{
	struct iov *iov = t->first;

	while (iov && memcmp(iov->key.id, id, sizeof(iov->key.id)))
		iov = iov->next;
	return iov;
}

static void count(struct iovs *t, const struct iov *iov, int change)
{
	t->count += change;
	atomic_fetch_add(iov->ring ? &t->d->stats.rings : &t->d->stats.iovs, change);
}

static int insert(struct iovs *t, struct iov *iov)
{
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (t->count >= MAX_IOVS)
		rc = -ENFILE;
	else if (find_id(t, iov->key.id))
		rc = -EEXIST;
	if (rc == 0) {
		iov->serial = ++t->serial;
		*t->last = iov;
		t->last = &iov->next;
		count(t, iov, 1);
		atomic_fetch_add(&iov->refs, 1);
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

int iovs_add(struct iovs *t, const char *name, const char *target, const struct caller *caller, struct iov **out)
{
	struct iov *iov;
	int rc = iov_new(t, name, target, caller, &iov);

	if (rc == -EINVAL || rc == -EACCES)
		stats_violation(&t->d->stats, VIOLATION_KEY);
	if (rc)
		return rc;
	/* Served before it can be found: from insert() on somebody else may deregister it. */
	if (iov->ring)
		rings_add(t->d->rings, iov->ring);
	rc = insert(t, iov);
	if (rc) {
		if (iov->ring)
			rings_remove(t->d->rings, iov->ring);
		iov_put(iov);
		return rc;
	}
	*out = iov;
	return 0;
}

/* With the lock held: takes *p out of the list. */
static struct iov *take_out(struct iovs *t, struct iov **p)
{
	struct iov *iov = *p;

	*p = iov->next;
	if (t->last == &iov->next)
		t->last = p;
	iov->next = NULL;
	count(t, iov, -1);
	return iov;
}

/* Of one that take_out() gave; requests that run keep what they use. */
static void deregister(struct iovs *t, struct iov *iov)
{
	if (iov->ring)
		rings_remove(t->d->rings, iov->ring);
	iov_put(iov);
}

int iovs_remove(struct iovs *t, const char *name, uid_t uid)
{
	struct iov **p, *iov = NULL;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	for (p = &t->first; *p && strcmp((*p)->name, name); p = &(*p)->next)
		;
	if (!*p)
		rc = -ENOENT;
	else if ((*p)->owner.uid != uid)
		rc = -EACCES;
	else
		iov = take_out(t, p);
	pthread_mutex_unlock(&t->lock);
	if (iov)
		deregister(t, iov);
	return rc;
}

/* Takes out those of one pid, or all of them (pid < 0), then deregisters them without the lock. */
static void remove_many(struct iovs *t, pid_t pid)
{
	struct iov **p = &t->first, *taken = NULL;

	pthread_mutex_lock(&t->lock);
	while (*p) {
		struct iov *iov;

		if (pid >= 0 && (*p)->owner.pid != pid) {
			p = &(*p)->next;
			continue;
		}
		iov = take_out(t, p);
		iov->next = taken;
		taken = iov;
	}
	pthread_mutex_unlock(&t->lock);
	while (taken) {
		struct iov *iov = taken;

		taken = iov->next;
		deregister(t, iov);
	}
}

void iovs_remove_pid(struct iovs *t, pid_t pid)
{
	remove_many(t, pid);
}

void iovs_free(struct iovs *t)
{
	if (!t)
		return;
	remove_many(t, -1);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct iov *get(struct iov *iov)
{
	if (iov)
		atomic_fetch_add(&iov->refs, 1);
	return iov;
}

int iovs_find(struct iovs *t, const char *name, uid_t uid, struct iov **out)
{
	struct iov *iov;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	iov = find_name(t, name);
	if (!iov)
		rc = -ENOENT;
	else if (iov->owner.uid != uid)
		rc = -EACCES;
	else
		*out = get(iov);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

struct iov *iovs_node(struct iovs *t, uint64_t serial)
{
	struct iov *iov;

	pthread_mutex_lock(&t->lock);
	for (iov = t->first; iov && iov->serial != serial; iov = iov->next)
		;
	get(iov);
	pthread_mutex_unlock(&t->lock);
	return iov;
}

struct iov *iovs_buffer(struct iovs *t, const uint8_t id[16])
{
	struct iov *iov;

	pthread_mutex_lock(&t->lock);
	iov = find_id(t, id);
	if (iov && iov->ring)
		iov = NULL;
	get(iov);
	pthread_mutex_unlock(&t->lock);
	return iov;
}

void iovs_each(struct iovs *t, uid_t uid, uint64_t after, int (*fn)(const struct iov *iov, void *arg), void *arg)
{
	pthread_mutex_lock(&t->lock);
	for (struct iov *iov = t->first; iov; iov = iov->next) {
		if (iov->owner.uid == uid && iov->serial > after && fn(iov, arg))
			break;
	}
	pthread_mutex_unlock(&t->lock);
}

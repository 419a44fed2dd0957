/* SPDX-License-Identifier: Apache-2.0 */
#include "iovs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_IOVS = 16384,
	/* One user leaves others room. A process has a few, and 3FS allows a million in all. */
	USER_BUFFERS = MAX_IOVS / 2,
};

struct iovs {
	struct stats *stats;
	pthread_mutex_t lock;
	struct iov *first, **last; /* by serial */
	uint64_t serial;
	int count;
};

struct iovs *iovs_new(struct stats *stats)
{
	struct iovs *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->stats = stats;
	t->last = &t->first;
	pthread_mutex_init(&t->lock, NULL);
	return t;
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

static int buffers_of(const struct iovs *t, uid_t uid)
{
	int n = 0;

	for (const struct iov *iov = t->first; iov; iov = iov->next)
		n += !iov->key.is_ring && iov->owner.uid == uid;
	return n;
}

static void count(struct iovs *t, const struct iov *iov, int change)
{
	t->count += change;
	atomic_fetch_add(iov->key.is_ring ? &t->stats->rings : &t->stats->iovs, change);
}

int iovs_insert(struct iovs *t, struct iov *iov)
{
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (t->count >= MAX_IOVS)
		rc = -ENFILE;
	else if (find_id(t, iov->key.id))
		rc = -EEXIST;
	else if (!iov->key.is_ring && buffers_of(t, iov->owner.uid) >= USER_BUFFERS)
		rc = -EMFILE;
	if (rc == 0) {
		iov->serial = ++t->serial;
		*t->last = iov;
		t->last = &iov->next;
		count(t, iov, 1);
		iov_get(iov);
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
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

int iovs_take(struct iovs *t, const char *name, uid_t uid, struct iov **out)
{
	struct iov **p;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	for (p = &t->first; *p && strcmp((*p)->name, name); p = &(*p)->next)
		;
	if (!*p)
		rc = -ENOENT;
	else if ((*p)->owner.uid != uid)
		rc = -EACCES;
	else
		*out = take_out(t, p);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

struct iov *iovs_take_pid(struct iovs *t, pid_t pid)
{
	struct iov **p = &t->first, *taken = NULL;

	pthread_mutex_lock(&t->lock);
	while (*p) {
		struct iov *iov;

		if ((*p)->owner.pid != pid) {
			p = &(*p)->next;
			continue;
		}
		iov = take_out(t, p);
		iov->next = taken;
		taken = iov;
	}
	pthread_mutex_unlock(&t->lock);
	return taken;
}

void iovs_free(struct iovs *t)
{
	if (!t)
		return;
	while (t->first)
		iov_put(take_out(t, &t->first));
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct iov *get(struct iov *iov)
{
	if (iov)
		iov_get(iov);
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
	if (iov && iov->key.is_ring)
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

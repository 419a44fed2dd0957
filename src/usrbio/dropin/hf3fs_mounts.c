/* SPDX-License-Identifier: Apache-2.0 */
#include "hf3fs_mounts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

/* How long registering may take before it counts as failed. */
enum { REGISTER_TIMEOUT_MS = 60000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hf3fs_mount *mounts;

void hf3fs_mounts_lock(void)
{
	pthread_mutex_lock(&lock);
}

void hf3fs_mounts_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

static struct hf3fs_mount *find_and_hold(const char *name)
{
	struct hf3fs_mount *m;
	pid_t self = getpid();

	pthread_mutex_lock(&lock);
	for (m = mounts; m; m = m->next)
		if (m->pid == self && !m->stale && strcmp(m->name, name) == 0) {
			m->users++;
			break;
		}
	pthread_mutex_unlock(&lock);
	return m;
}

/* Not under the lock: a daemon that hangs is no reason for other mounts to wait. Two threads that come at once may so
 * make a client each, which is as good as one. */
static int mount_new(const char *name, struct hf3fs_mount **out)
{
	struct hf3fs_mount *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	snprintf(m->name, sizeof(m->name), "%s", name);
	rc = usrbio_client_open(name, REGISTER_TIMEOUT_MS, &m->client, NULL);
	if (rc < 0) {
		free(m);
		return rc;
	}
	m->dev = usrbio_client_dev(m->client);
	m->users = 1;
	m->pid = getpid();
	pthread_mutex_lock(&lock);
	m->next = mounts;
	mounts = m;
	pthread_mutex_unlock(&lock);
	*out = m;
	return 0;
}

static int mount_get(const char *name, struct hf3fs_mount **out)
{
	if (strlen(name) >= sizeof((*out)->name))
		return -EINVAL;
	*out = find_and_hold(name);
	return *out ? 0 : mount_new(name, out);
}

void hf3fs_mount_put(struct hf3fs_mount *m)
{
	struct hf3fs_mount **at = &mounts;
	bool last;

	if (m->pid != getpid())
		return;
	pthread_mutex_lock(&lock);
	last = --m->users == 0;
	while (last && *at != m)
		at = &(*at)->next;
	if (last)
		*at = m->next;
	pthread_mutex_unlock(&lock);
	if (!last)
		return;
	usrbio_client_close(m->client, 0);
	free(m);
}

static void set_stale(struct hf3fs_mount *m)
{
	pthread_mutex_lock(&lock);
	m->stale = true;
	pthread_mutex_unlock(&lock);
}

int hf3fs_mount_use(const char *name, int (*make)(struct hf3fs_mount *m, void *arg), void *arg,
		    struct hf3fs_mount **out)
{
	struct hf3fs_mount *m;
	int rc;

	for (int attempt = 0;; attempt++) {
		rc = mount_get(name, &m);
		if (rc < 0)
			return rc;
		rc = make(m, arg);
		if (rc == 0)
			break;
		if (rc == -ENOTCONN)
			set_stale(m);
		hf3fs_mount_put(m);
		if (rc != -ENOTCONN || attempt)
			return rc;
	}
	*out = m;
	return 0;
}

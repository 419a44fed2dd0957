/* SPDX-License-Identifier: Apache-2.0 */
#include "registration.h"

#include <errno.h>
#include <string.h>

#include "say.h"

/* Once it is out of the table, or before it is in it. */
static void stop_serving(struct fs *fs, struct iov *iov)
{
	if (iov->key.is_ring)
		rings_remove(fs->rings, iov);
	iov_put(iov);
}

/* Served before it can be found: from iovs_insert() on somebody else may deregister it. */
static int serve(struct fs *fs, struct iov *iov)
{
	int rc = iov->key.is_ring ? rings_add(fs->rings, iov) : 0;

	if (rc) {
		iov_put(iov);
		return rc;
	}
	rc = iovs_insert(fs->iovs, iov);
	if (rc)
		stop_serving(fs, iov);
	return rc;
}

static void refused(struct fs *fs, const struct caller *caller, int rc)
{
	if (rc == -EINVAL || rc == -EACCES)
		stats_violation(fs->stats, VIOLATION_KEY);
	if (rc != -EMFILE && rc != -ENFILE)
		return;
	stats_violation(fs->stats, VIOLATION_BOUND);
	say_seldom("user %u, thread %d: a buffer or ring is refused (%s): %s", (unsigned)caller->uid, (int)caller->pid,
		   strerror(-rc),
		   rc == -EMFILE ? "this user has as many as one may, or rings for as many requests"
				 : "all users together have as many as there may be");
}

int registration_add(struct fs *fs, const char *name, const char *target, const struct caller *caller, struct iov **out)
{
	int rc = iov_new(name, fs->config.strict_keys, target, caller, out);

	if (rc == 0)
		rc = serve(fs, *out);
	refused(fs, caller, rc);
	return rc;
}

int registration_remove(struct fs *fs, const char *name, uid_t uid)
{
	struct iov *iov;
	int rc = iovs_take(fs->iovs, name, uid, &iov);

	if (rc == 0)
		stop_serving(fs, iov);
	return rc;
}

void registration_remove_pid(struct fs *fs, pid_t pid)
{
	struct iov *iov = iovs_take_pid(fs->iovs, pid);

	while (iov) {
		struct iov *next = iov->next;

		stop_serving(fs, iov);
		iov = next;
	}
}

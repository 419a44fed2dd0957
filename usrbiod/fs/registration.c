/* SPDX-License-Identifier: Apache-2.0 */
#include "registration.h"

#include <errno.h>

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

int registration_add(struct fs *fs, const char *name, const char *target, const struct caller *caller, struct iov **out)
{
	int rc = iov_new(name, fs->config.strict_keys, target, caller, out);

	if (rc == 0)
		rc = serve(fs, *out);
	if (rc == -EINVAL || rc == -EACCES)
		stats_violation(fs->stats, VIOLATION_KEY);
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

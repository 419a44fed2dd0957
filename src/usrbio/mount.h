/* SPDX-License-Identifier: Apache-2.0 */
/* Which 3FS mount a path is on, from the text of /proc/self/mountinfo. */
#ifndef USRBIO_MOUNT_H
#define USRBIO_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct usrbio_mount_rule {
	bool any_type; /* look at mounts of every file system type */
	/* Has this mount the virtual directory? 1, 0, or a negative errno: nobody knows. */
	int (*has_virt)(const char *mount, void *ctx);
	void *ctx;
};

/* The mount point that `path`, absolute and canonical, is on: 1 and a string for free() in `*out`; 0 and NULL when
 * it is on none; or a negative errno. */
int usrbio_mountinfo_find(FILE *mountinfo, const char *path, const struct usrbio_mount_rule *rule, char **out);

#endif

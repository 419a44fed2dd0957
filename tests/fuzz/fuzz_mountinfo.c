/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/self/mountinfo, as it could be: the first line of an input is a path, the rest is the table of mounts.
 *
 * Covers: src/usrbio/mount.c
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "emulated.h"
#include "fuzz.h"
#include "mount.h"
#include "usrbio.h"

/* Some have it, some have not, and of some it cannot be asked. */
static int has_virt(const char *mount, void *ctx)
{
	static const int answers[] = {1, 1, -EACCES, 0};

	(void)ctx;
	return answers[strlen(mount) % 4];
}

/* By whole components. */
static bool is_on(const char *path, const char *mount)
{
	size_t len = strlen(mount);

	while (len && mount[len - 1] == '/')
		len--;
	return strncmp(path, mount, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void search(const char *path, const struct fuzz_input *text, bool any_type)
{
	const struct usrbio_mount_rule rule = {.any_type = any_type, .has_virt = has_virt};
	size_t size = (size_t)(text->end - text->at);
	FILE *file = size ? fmemopen((void *)text->at, size, "r") : NULL;
	char *found = NULL;
	int rc;

	if (!file)
		return;
	rc = usrbio_mountinfo_find(file, path, &rule, &found);
	HOLDS((rc == 1) == (found != NULL));
	HOLDS(rc == 1 || rc == 0 || rc == -EACCES);
	HOLDS(!found || is_on(path, found));
	free(found);
	fclose(file);
}

/* This machine's own table: there may be a mount of 3FS, and the path may be on it. */
static void search_here(const char *path)
{
	char whole[PATH_MAX + 1], part[2];
	int rc = usrbio_mount_of(path, whole, sizeof(whole));

	HOLDS(rc == 1 ? whole[0] == '/' : rc <= 0 && !whole[0]);
	/* Any mount's name is longer, but that of the root. */
	rc = usrbio_mount_of(path, part, sizeof(part));
	HOLDS(rc == 1 ? strcmp(part, "/") == 0 : rc <= 0 && !part[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, data + size};
	char *path = fuzz_line(&in);

	if (path[0] == '/') {
		search(path, &in, false);
		search(path, &in, true);
	}
	search_here(path);
	setenv("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP", "yes", 1);
	search_here(path);
	unsetenv("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP");
	/* An ioctl, and qemu says of each that it does not know that the file does not know it. */
	HOLDS(usrbio_fd_is_3fs(-1) == (emulated() ? 0 : -EBADF));
	free(path);
	return 0;
}

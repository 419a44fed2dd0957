/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_choice.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "sdk_lib.h"
#include "usrbio.h"

/* The USRBIO client asked for. A library that cannot be had is an error even where nothing would be read through it. */
static int choose_client(const struct fst3fs_options *o, const struct fst3fs_io_ops **out, struct fst3fs_error *err)
{
	const struct fst3fs_sdk *sdk;

	switch (o->usrbio) {
	case FST3FS_USRBIO_BUILTIN:
		*out = &fst3fs_io_usrbio;
		return 0;
	case FST3FS_USRBIO_SDK:
		*out = &fst3fs_io_sdk;
		return fst3fs_sdk_load(o->sdk_path, &sdk, err);
	}
	return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "usrbio is %d, not one of enum fst3fs_usrbio",
				   o->usrbio);
}

static int find_mount(const char *asked, struct fst3fs_way *way, struct fst3fs_error *err)
{
	int rc;

	if (!asked || !asked[0]) {
		snprintf(way->why_not, sizeof(way->why_not), "no 3FS mount point was given");
		return 0;
	}
	rc = access(asked, F_OK) == 0 ? usrbio_mount_of(asked, way->mount, sizeof(way->mount)) : -errno;
	if (rc < 0) {
		fst3fs_err_set(err, rc, "mount point: %s", fst3fs_strerror(rc));
		fst3fs_err_set_path(err, asked);
		return rc;
	}
	if (rc == 0)
		snprintf(way->why_not, sizeof(way->why_not), "%.600s is not on a 3FS mount", asked);
	return 0;
}

int fst3fs_way_choose(const struct fst3fs_options *o, struct fst3fs_way *way, struct fst3fs_error *err)
{
	int rc;

	*way = (struct fst3fs_way){0};
	rc = choose_client(o, &way->main, err);
	if (rc == 0)
		rc = find_mount(o->mount_point, way, err);
	if (rc < 0 || way->mount[0])
		return rc;
	way->main = NULL;
	if (o->require_usrbio)
		return fst3fs_err_set(err, -ENOTSUP, "%s, and reading through the operating system is ruled out",
				      way->why_not);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sdk_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dl.h"
#include "fork_lock.h"
#include "wire.h"

#define SYMBOL(function) {.name = "hf3fs_" #function, .offset = offsetof(struct fst3fs_sdk, function)},

static const struct fst3fs_dl_symbol symbols[] = {FST3FS_SDK_FUNCTIONS(SYMBOL)};

FST3FS_FORK_LOCK(lock);
static struct fst3fs_sdk *loaded;

static int refuse(struct fst3fs_error *err, const char *path, const char *what)
{
	fst3fs_err_set(err, -ELIBBAD, "%s", what);
	fst3fs_err_set_path(err, path);
	return -ELIBBAD;
}

/* Fills the table, and names whatever is missing in `missing`. */
static bool resolve(void *lib, struct fst3fs_sdk *sdk, char *missing, size_t size)
{
	size_t used = 0;

	missing[0] = '\0';
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		const char *name = fst3fs_dl_resolve(lib, &symbols[i], 1, sdk);

		if (name && used < size)
			used += (size_t)snprintf(missing + used, size - used, "%s%s", used ? ", " : "", name);
	}
	return used == 0;
}

/* The engine waits on the semaphore inside the ring, so the ring must be laid out as expected. */
static bool layout_fits(const struct fst3fs_sdk *sdk)
{
	const int entries = 64;

	return sdk->ior_size(entries) == USRBIO_RING_FIXED + (size_t)(entries + 1) * USRBIO_SLOT_BYTES;
}

static int open_checked(const char *path, struct fst3fs_sdk *sdk, struct fst3fs_error *err)
{
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	char missing[640], text[700];
	int rc = 0;

	if (!lib)
		return refuse(err, path, dlerror());
	if (!resolve(lib, sdk, missing, sizeof(missing))) {
		snprintf(text, sizeof(text), "it lacks %s", missing);
		rc = refuse(err, path, text);
	} else if (!layout_fits(sdk)) {
		rc = refuse(err, path, "its rings have another layout");
	} else if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE)) {
		/* Now for good, and for the Python binding of the library, which expects to find it loaded. */
		rc = refuse(err, path, dlerror());
	}
	dlclose(lib);
	return rc;
}

static void discard(struct fst3fs_sdk *sdk)
{
	if (sdk)
		free(sdk->path);
	free(sdk);
}

static int load(const char *path, struct fst3fs_sdk **out, struct fst3fs_error *err)
{
	struct fst3fs_sdk *sdk = calloc(1, sizeof(*sdk));
	int rc;

	if (!sdk || !(sdk->path = strdup(path))) {
		discard(sdk);
		return fst3fs_err_set(err, -ENOMEM, "no memory to load %s", path);
	}
	rc = open_checked(path, sdk, err);
	if (rc < 0)
		discard(sdk);
	else
		*out = sdk;
	return rc;
}

static struct fst3fs_sdk *find_under_lock(const char *path)
{
	struct fst3fs_sdk *sdk = loaded;

	while (sdk && strcmp(sdk->path, path) != 0)
		sdk = sdk->next;
	return sdk;
}

static struct fst3fs_sdk *find(const char *path)
{
	struct fst3fs_sdk *sdk;

	pthread_mutex_lock(&lock);
	sdk = find_under_lock(path);
	pthread_mutex_unlock(&lock);
	return sdk;
}

/* The one that counts: that of a thread which came first, if there was one. */
static struct fst3fs_sdk *keep(struct fst3fs_sdk *mine)
{
	struct fst3fs_sdk *first;

	pthread_mutex_lock(&lock);
	first = find_under_lock(mine->path);
	if (!first) {
		mine->next = loaded;
		loaded = mine;
	}
	pthread_mutex_unlock(&lock);
	if (!first)
		return mine;
	discard(mine);
	return first;
}

int fst3fs_sdk_load(const char *path, const struct fst3fs_sdk **out, struct fst3fs_error *err)
{
	struct fst3fs_sdk *sdk;
	int rc;

	if (!path || !path[0])
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "the official USRBIO library was asked for without saying where it is");
	sdk = find(path);
	if (!sdk) {
		rc = load(path, &sdk, err);
		if (rc < 0)
			return rc;
		sdk = keep(sdk);
	}
	*out = sdk;
	return 0;
}

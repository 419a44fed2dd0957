/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_driver.h"

#include <errno.h>
#include <stdatomic.h>

#include "dl.h"
#include "fork_lock.h"

#define REQUIRED(member, exported, parameters) {#exported, offsetof(struct fst3fs_cuda_driver, member), false},
#define OPTIONAL(member, exported, parameters) {#exported, offsetof(struct fst3fs_cuda_driver, member), true},

static const struct fst3fs_dl_symbol symbols[] = {FST3FS_CUDA_REQUIRED(REQUIRED) FST3FS_CUDA_OPTIONAL(OPTIONAL)};

FST3FS_FORK_LOCK(lock);
static struct fst3fs_cuda_driver driver;	    /* written under `lock`, once, before `loaded` is set */
static _Atomic(struct fst3fs_cuda_driver *) loaded; /* release in keep(), acquire in fst3fs_cuda_driver_get */

/* The first one counts; another thread's says the same. */
static const struct fst3fs_cuda_driver *keep(const struct fst3fs_cuda_driver *resolved)
{
	pthread_mutex_lock(&lock);
	if (!atomic_load_explicit(&loaded, memory_order_relaxed)) {
		driver = *resolved;
		atomic_store_explicit(&loaded, &driver, memory_order_release);
	}
	pthread_mutex_unlock(&lock);
	return &driver;
}

int fst3fs_cuda_driver_get(const struct fst3fs_cuda_driver **out)
{
	struct fst3fs_cuda_driver resolved = {0};
	void *lib;
	int rc;

	*out = atomic_load_explicit(&loaded, memory_order_acquire);
	if (*out)
		return 0;
	rc = fst3fs_dl_loaded("libcuda.so.1", &lib);
	if (!lib)
		return rc;
	resolved.missing = fst3fs_dl_resolve(lib, symbols, sizeof(symbols) / sizeof(symbols[0]), &resolved);
	*out = keep(&resolved);
	return 0;
}

const char *fst3fs_cuda_result_name(const struct fst3fs_cuda_driver *cu, fst3fs_cu_result rc)
{
	const char *name = NULL;

	if (!cu->get_error_name || cu->get_error_name(rc, &name) != FST3FS_CU_SUCCESS || !name)
		name = "an error without a name";
	return name;
}

int fst3fs_cuda_error(const struct fst3fs_cuda_driver *cu, struct fst3fs_error *err, const char *where,
		      const char *call, fst3fs_cu_result rc)
{
	const char *text = NULL;

	if (!cu->get_error_string || cu->get_error_string(rc, &text) != FST3FS_CU_SUCCESS || !text)
		text = "no description";
	return fst3fs_err_set_kind(err, FST3FS_ERROR_DEVICE, -EIO, "%s: %s failed: %s, error %u (%s)", where, call,
				   fst3fs_cuda_result_name(cu, rc), rc, text);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_driver.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "dl.h"

#define REQUIRED(member, exported, parameters) {#exported, offsetof(struct fst3fs_cuda_driver, member), false},
#define OPTIONAL(member, exported, parameters) {#exported, offsetof(struct fst3fs_cuda_driver, member), true},

static const struct fst3fs_dl_symbol symbols[] = {FST3FS_CUDA_REQUIRED(REQUIRED) FST3FS_CUDA_OPTIONAL(OPTIONAL)};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fst3fs_cuda_driver driver;	    /* written under `lock`, once, before `loaded` is set */
static _Atomic(struct fst3fs_cuda_driver *) loaded; /* release here, acquire in fst3fs_cuda_driver_get */

int fst3fs_cuda_driver_get(const struct fst3fs_cuda_driver **out)
{
	struct fst3fs_cuda_driver *cu = atomic_load_explicit(&loaded, memory_order_acquire);
	void *lib = NULL;
	int rc = 0;

	*out = cu;
	if (cu)
		return 0;
	pthread_mutex_lock(&lock);
	cu = atomic_load_explicit(&loaded, memory_order_relaxed);
	if (!cu)
		rc = fst3fs_dl_loaded("libcuda.so.1", &lib);
	if (lib) {
		driver.missing = fst3fs_dl_resolve(lib, symbols, sizeof(symbols) / sizeof(symbols[0]), &driver);
		cu = &driver;
		atomic_store_explicit(&loaded, cu, memory_order_release);
	}
	pthread_mutex_unlock(&lock);
	*out = cu;
	return rc;
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

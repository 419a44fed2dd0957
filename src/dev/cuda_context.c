/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_context.h"

#include <errno.h>
#include <stdio.h>

/* The driver's ways to say that an address means nothing to it. Before cuInit, after the driver has shut down, and in
 * the child of a fork there is no device memory at all. */
static bool is_foreign(fst3fs_cu_result rc)
{
	return rc == FST3FS_CU_NOT_INITIALIZED || rc == FST3FS_CU_DEINITIALIZED || rc == FST3FS_CU_INVALID_CONTEXT ||
	       rc == FST3FS_CU_INVALID_VALUE;
}

int fst3fs_cuda_locate(const struct fst3fs_cuda_driver *cu, uint64_t address, struct fst3fs_cuda_place *place,
		       struct fst3fs_error *err)
{
	unsigned names[] = {FST3FS_CU_POINTER_MEMORY_TYPE, FST3FS_CU_POINTER_IS_MANAGED,
			    FST3FS_CU_POINTER_DEVICE_ORDINAL, FST3FS_CU_POINTER_CONTEXT};
	unsigned type = 0;
	/* The driver writes a bool or an int, depending on its version; any byte set means yes. */
	unsigned managed = 0;
	int ordinal = -1;
	struct CUctx_st *ctx = NULL;
	void *values[] = {&type, &managed, &ordinal, &ctx};
	fst3fs_cu_result rc;

	if (!cu->pointer_get_attributes)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_DEVICE, -ENOTSUP,
					   "the CUDA driver in this process has no cuPointerGetAttributes, so GPU "
					   "addresses cannot be told from others; update the driver");
	rc = cu->pointer_get_attributes(4, names, values, address);
	if (is_foreign(rc))
		return 0;
	if (rc != FST3FS_CU_SUCCESS)
		return fst3fs_cuda_error(cu, err, "cuda", "cuPointerGetAttributes", rc);
	/* Managed memory may lie on either side at the moment: the driver must do the copy. */
	if (ordinal < 0 || (type != FST3FS_CU_MEMORY_DEVICE && !managed))
		return 0;
	*place = (struct fst3fs_cuda_place){.ordinal = ordinal, .ctx = ctx};
	return 1;
}

/* A primary context that nobody has made yet is not the one that the memory came from. */
static int primary_wanted(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place, int device,
			  bool *wanted, struct fst3fs_error *err)
{
	unsigned flags;
	int active = 0;
	fst3fs_cu_result rc;

	*wanted = true;
	if (!place->ctx)
		return 0;
	rc = cu->primary_get_state(device, &flags, &active);
	if (rc != FST3FS_CU_SUCCESS)
		return fst3fs_cuda_error(cu, err, "cuda", "cuDevicePrimaryCtxGetState", rc);
	*wanted = active;
	return 0;
}

int fst3fs_cuda_context_get(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place,
			    struct fst3fs_cuda_context *out, struct fst3fs_error *err)
{
	struct CUctx_st *primary = NULL;
	fst3fs_cu_result rc;
	bool wanted;
	int device, ret;

	rc = cu->device_get(&device, place->ordinal);
	if (rc != FST3FS_CU_SUCCESS)
		return fst3fs_cuda_error(cu, err, "cuda", "cuDeviceGet", rc);
	ret = primary_wanted(cu, place, device, &wanted, err);
	if (ret < 0)
		return ret;
	if (wanted) {
		rc = cu->primary_retain(&primary, device);
		if (rc != FST3FS_CU_SUCCESS)
			return fst3fs_cuda_error(cu, err, "cuda", "cuDevicePrimaryCtxRetain", rc);
		if (place->ctx && place->ctx != primary) {
			cu->primary_release(device);
			primary = NULL;
		}
	}
	*out = (struct fst3fs_cuda_context){
		.handle = primary ? primary : place->ctx, .ordinal = place->ordinal, .primary = primary != NULL};
	return 0;
}

void fst3fs_cuda_context_put(const struct fst3fs_cuda_driver *cu, struct fst3fs_cuda_context *ctx)
{
	int device;

	/* Errors are of no use to anybody here: when the driver is shutting down, the context is gone anyway. */
	if (ctx->primary && cu->device_get(&device, ctx->ordinal) == FST3FS_CU_SUCCESS)
		cu->primary_release(device);
	*ctx = (struct fst3fs_cuda_context){0};
}

bool fst3fs_cuda_context_fits(const struct fst3fs_cuda_context *ctx, const struct fst3fs_cuda_place *place)
{
	return ctx->ordinal == place->ordinal && (place->ctx ? ctx->handle == place->ctx : ctx->primary);
}

fst3fs_cu_result fst3fs_cuda_enter(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_context *ctx)
{
	return cu->ctx_push(ctx->handle);
}

void fst3fs_cuda_leave(const struct fst3fs_cuda_driver *cu)
{
	struct CUctx_st *popped;

	cu->ctx_pop(&popped);
}

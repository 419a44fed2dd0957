/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, and the stand-in for a kernel. */
#include <stdlib.h>
#include <string.h>

#include "fake.h"

/* The device memory behind an address, as the current context may use it. */
static CUresult target(CUdeviceptr address, size_t size, struct CUctx_st *ctx, struct allocation **out)
{
	struct allocation *m = find_memory(address, size);

	if (!m || m->kind == MEMORY_HOST || m->kind == MEMORY_REGISTERED) {
		wrong("a copy to 0x%llx, which is not device memory (any more)", address);
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (m->device != ctx->device || (m->ctx && m->ctx != ctx))
		wrong("a copy to memory of another context than the current one");
	*out = m;
	return CUDA_SUCCESS;
}

static void *copy_of(const void *src, size_t size)
{
	void *bytes = malloc(size ? size : 1);

	memcpy(bytes, src, size);
	return bytes;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t size, CUstream stream)
{
	struct allocation *m = NULL, *source;
	struct CUctx_st *ctx;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc == CUDA_SUCCESS && ((uintptr_t)stream <= 1 || stream->destroyed || stream->ctx != ctx)) {
		wrong("a copy on a default, destroyed or foreign stream");
		rc = CUDA_ERROR_INVALID_HANDLE;
	}
	if (rc == CUDA_SUCCESS)
		rc = target(dst, size, ctx, &m);
	if (rc != CUDA_SUCCESS)
		return leave(rc);
	source = find_pinned(src, size);
	fake.counts.unpinned += !source;
	push_op(stream, &(struct op){.kind = OP_COPY,
				     .memory = m,
				     .source = source,
				     .offset = dst - (uintptr_t)m->address,
				     .size = size,
				     .host = (void *)(uintptr_t)src,
				     .bounce = source ? NULL : copy_of(src, size),
				     .delay_us = fake.delay_us});
	return leave(CUDA_SUCCESS);
}

/* Synchronous copies wait for the default stream and for no other. */
static CUresult copy_now(const char *name, CUdeviceptr device, void *host, size_t size, bool write)
{
	struct allocation *m = NULL;
	struct CUctx_st *ctx;
	CUresult rc = enter(name);

	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc == CUDA_SUCCESS)
		rc = target(device, size, ctx, &m);
	if (rc == CUDA_SUCCESS)
		rc = drain(legacy_stream(ctx));
	if (rc == CUDA_SUCCESS) {
		uint8_t *inside = m->inside + (device - (uintptr_t)m->address);

		memcpy(write ? inside : host, write ? host : inside, size);
	}
	return leave(rc);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t size)
{
	return copy_now(__func__, dst, (void *)(uintptr_t)src, size, true);
}

CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t size)
{
	return copy_now(__func__, src, dst, size, false);
}

CUresult fake_cuda_kernel(CUdeviceptr memory, void *out, size_t size, int write, unsigned delay_us)
{
	struct allocation *m = NULL;
	struct CUctx_st *ctx;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc == CUDA_SUCCESS)
		rc = target(memory, size, ctx, &m);
	if (rc == CUDA_SUCCESS)
		push_op(legacy_stream(ctx), &(struct op){.kind = OP_KERNEL,
							 .memory = m,
							 .offset = memory - (uintptr_t)m->address,
							 .size = size,
							 .host = out,
							 .write = write,
							 .delay_us = delay_us});
	return leave(rc);
}

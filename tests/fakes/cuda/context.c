/* SPDX-License-Identifier: Apache-2.0 */
/* Devices and contexts. */
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"

enum { STACK = 32 };
static __thread struct CUctx_st *stack[STACK];
static __thread int depth;

struct CUctx_st *current(void)
{
	return depth > 0 ? stack[depth - 1] : NULL;
}

static CUresult usable(const struct CUctx_st *ctx)
{
	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return ctx->destroyed ? CUDA_ERROR_CONTEXT_IS_DESTROYED : ctx->broken;
}

CUresult current_usable(struct CUctx_st **out)
{
	*out = current();
	if (!*out)
		wrong("a call that needs a current context, on a thread without one");
	return usable(*out);
}

static struct CUctx_st *context_new(int device, bool primary)
{
	struct CUctx_st *ctx = calloc(1, sizeof(*ctx));

	*ctx = (struct CUctx_st){.device = device, .primary = primary, .next = fake.contexts};
	fake.contexts = ctx;
	fake.counts.contexts_made++;
	return ctx;
}

/* ------------------------------------------------------------------ devices */

CUresult cuDriverGetVersion(int *version)
{
	*version = 13000;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
	CUresult rc = enter(__func__);

	*count = fake.devices;
	return leave(rc);
}

static CUresult enter_device(const char *name, int device)
{
	CUresult rc = enter(name);

	return rc == CUDA_SUCCESS && (device < 0 || device >= fake.devices) ? CUDA_ERROR_INVALID_DEVICE : rc;
}

CUresult cuDeviceGet(int *device, int ordinal)
{
	CUresult rc = enter_device(__func__, ordinal);

	*device = ordinal;
	return leave(rc);
}

CUresult cuDeviceGetPCIBusId(char *id, int size, int device)
{
	CUresult rc = enter_device(__func__, device);

	snprintf(id, (size_t)size, "0000:%02X:00.0", 0x1A + device);
	return leave(rc);
}

/* ------------------------------------------------------------------ primary contexts */

CUresult cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
	CUresult rc = enter_device(__func__, device);

	*flags = 0;
	if (rc == CUDA_SUCCESS)
		*active = fake.primary_refs[device] > 0;
	return leave(rc);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, int device)
{
	CUresult rc = enter_device(__func__, device);

	if (rc == CUDA_SUCCESS) {
		if (fake.primary_refs[device]++ == 0)
			fake.primary[device] = context_new(device, true);
		*out = fake.primary[device];
	}
	return leave(rc);
}

CUresult cuDevicePrimaryCtxRelease_v2(int device)
{
	CUresult rc = enter_device(__func__, device);

	if (rc == CUDA_SUCCESS && fake.primary_refs[device] == 0) {
		wrong("release of a primary context that nobody holds, device %d", device);
		rc = CUDA_ERROR_INVALID_CONTEXT;
	}
	if (rc == CUDA_SUCCESS && --fake.primary_refs[device] == 0)
		fake.primary[device]->destroyed = true;
	return leave(rc);
}

/* ------------------------------------------------------------------ other contexts, and which one is current */

CUresult cuCtxCreate_v2(CUcontext *out, unsigned flags, int device)
{
	CUresult rc = enter_device(__func__, device);

	(void)flags;
	if (rc == CUDA_SUCCESS && depth < STACK)
		stack[depth++] = *out = context_new(device, false);
	return leave(rc);
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS) {
		ctx->destroyed = true;
		if (current() == ctx)
			depth--;
	}
	return leave(rc);
}

CUresult cuCtxPushCurrent_v2(CUcontext ctx)
{
	CUresult rc = enter(__func__);

	/* A broken context can be made current; a destroyed one cannot. */
	if (rc == CUDA_SUCCESS && (!ctx || ctx->destroyed))
		rc = ctx ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_CONTEXT;
	if (rc == CUDA_SUCCESS && depth < STACK)
		stack[depth++] = ctx;
	return leave(rc);
}

CUresult cuCtxPopCurrent_v2(CUcontext *out)
{
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS && depth == 0) {
		wrong("pop from an empty stack of contexts");
		rc = CUDA_ERROR_INVALID_CONTEXT;
	}
	if (rc == CUDA_SUCCESS)
		*out = stack[--depth];
	return leave(rc);
}

CUresult cuCtxGetCurrent(CUcontext *out)
{
	CUresult rc = enter(__func__);

	*out = current();
	return leave(rc);
}

CUresult cuCtxSetCurrent(CUcontext ctx)
{
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS) {
		if (depth > 0)
			depth--;
		if (ctx)
			stack[depth++] = ctx;
	}
	return leave(rc);
}

void fake_cuda_heal(void)
{
	pthread_mutex_lock(&fake.lock);
	/* What was queued in a broken context is not to be executed after all. */
	for (struct CUstream_st *stream = fake.streams; stream; stream = stream->next)
		while (stream->head && stream->ctx->broken)
			pthread_cond_wait(&fake.changed, &fake.lock);
	for (struct CUctx_st *ctx = fake.contexts; ctx; ctx = ctx->next)
		ctx->broken = CUDA_SUCCESS;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

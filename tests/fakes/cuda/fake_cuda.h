/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA driver without a GPU, for tests: libcuda.so.1 with the functions that are used here.
 *
 * Device memory cannot be touched by the host (its pages are PROT_NONE: a memcpy to it is a crash, as on a GPU), copies
 * run on a thread for each stream after a delay and in stream order, and what a real driver would suffer in silence
 * (a destination freed under a copy, the wrong context, use after destroy) is counted and told.
 *
 * Environment, read at cuInit:
 *   FAKE_CUDA_DEVICES   how many GPUs there are, default 2
 *   FAKE_CUDA_DELAY_US  how long a copy takes, default 200
 *   FAKE_CUDA_FAIL      CALL:N:ERROR[,...]: the Nth call (from 1; 0 = every call) of CALL fails with ERROR, for example
 *                       cuMemcpyHtoDAsync_v2:3:CUDA_ERROR_ILLEGAL_ADDRESS. CALL "copy" is a copy's execution, later on
 *                       its stream. Errors that break a context do so here.
 *   FAKE_CUDA_STRICT    if 1, wrong use or leaked driver objects at exit end the process with status 97
 */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include <stddef.h>

#define FAKE_API __attribute__((visibility("default")))

typedef unsigned long long CUdeviceptr;
typedef unsigned int CUresult;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;

/* ------------------------------------------------------------------ hooks for tests */

struct fake_cuda_counts {
	int wrong_use;	    /* misuse so far */
	int streams;	    /* alive */
	int events;	    /* alive */
	int registrations;  /* page-locked ranges now */
	int primary_refs;   /* retains of primary contexts, all devices */
	int primary_active; /* devices whose primary context exists */
	int contexts_made;  /* ever, primary ones included */
	int copies;	    /* asynchronous host-to-device copies executed */
	int unpinned;	    /* of these, from memory that was not page-locked when they were queued */
	int host_funcs;	    /* host functions executed */
	int legacy_records; /* events recorded in a default stream */
	int injected;	    /* failures that were asked for and happened */
};

FAKE_API void fake_cuda_counts(struct fake_cuda_counts *out);
/* The first misuse, "" if none. */
FAKE_API const char *fake_cuda_first_wrong(void);
/* How often a function was called. */
FAKE_API int fake_cuda_calls(const char *name);
/* Replaces FAKE_CUDA_FAIL, and counts calls anew from here; NULL = nothing fails. 0, or -1 for a bad spec. */
FAKE_API int fake_cuda_fail(const char *spec);
FAKE_API void fake_cuda_delay_us(unsigned delay);
/* While on, streams execute nothing. */
FAKE_API void fake_cuda_hang(int on);
/* Queues a "kernel" in the current context's default stream that takes `delay_us` and then reads device memory into
 * `out`, or, with `write`, writes `out` to it. */
FAKE_API CUresult fake_cuda_kernel(CUdeviceptr memory, void *out, size_t size, int write, unsigned delay_us);
/* Device memory that belongs to no context, as the virtual memory API makes it. Freed by cuMemFree_v2. */
FAKE_API CUresult fake_cuda_alloc_vmm(CUdeviceptr *out, size_t size, int device);
/* Heals broken contexts, so that one process can test several failures. */
FAKE_API void fake_cuda_heal(void);
/* A summary in words, and how much is wrong: misuse and leaked objects. Static storage. */
FAKE_API const char *fake_cuda_report(int *wrong);

/* ------------------------------------------------------------------ the driver's own functions */

FAKE_API CUresult cuInit(unsigned flags);
FAKE_API CUresult cuDriverGetVersion(int *version);
FAKE_API CUresult cuGetErrorName(CUresult error, const char **name);
FAKE_API CUresult cuGetErrorString(CUresult error, const char **text);
FAKE_API CUresult cuDeviceGetCount(int *count);
FAKE_API CUresult cuDeviceGet(int *device, int ordinal);
FAKE_API CUresult cuDeviceGetPCIBusId(char *id, int size, int device);

FAKE_API CUresult cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active);
FAKE_API CUresult cuDevicePrimaryCtxRetain(CUcontext *out, int device);
FAKE_API CUresult cuDevicePrimaryCtxRelease_v2(int device);
FAKE_API CUresult cuCtxCreate_v2(CUcontext *out, unsigned flags, int device);
FAKE_API CUresult cuCtxDestroy_v2(CUcontext ctx);
FAKE_API CUresult cuCtxPushCurrent_v2(CUcontext ctx);
FAKE_API CUresult cuCtxPopCurrent_v2(CUcontext *out);
FAKE_API CUresult cuCtxGetCurrent(CUcontext *out);
FAKE_API CUresult cuCtxSetCurrent(CUcontext ctx);

FAKE_API CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size);
FAKE_API CUresult cuMemFree_v2(CUdeviceptr address);
FAKE_API CUresult cuMemAllocManaged(CUdeviceptr *out, size_t size, unsigned flags);
FAKE_API CUresult cuMemHostAlloc(void **out, size_t size, unsigned flags);
FAKE_API CUresult cuMemFreeHost(void *address);
FAKE_API CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned flags);
FAKE_API CUresult cuMemHostUnregister(void *address);
FAKE_API CUresult cuPointerGetAttributes(unsigned n, unsigned *names, void **values, CUdeviceptr address);

FAKE_API CUresult cuStreamCreate(CUstream *out, unsigned flags);
FAKE_API CUresult cuStreamDestroy_v2(CUstream stream);
FAKE_API CUresult cuStreamSynchronize(CUstream stream);
FAKE_API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags);
FAKE_API CUresult cuLaunchHostFunc(CUstream stream, void (*fn)(void *), void *arg);
FAKE_API CUresult cuEventCreate(CUevent *out, unsigned flags);
FAKE_API CUresult cuEventDestroy_v2(CUevent event);
FAKE_API CUresult cuEventRecord(CUevent event, CUstream stream);
FAKE_API CUresult cuEventQuery(CUevent event);
FAKE_API CUresult cuEventSynchronize(CUevent event);

FAKE_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t size, CUstream stream);
FAKE_API CUresult cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t size);
FAKE_API CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t size);

#endif

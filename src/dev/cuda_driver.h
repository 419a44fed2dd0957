/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the CUDA driver API that is used here, declared by us, so that nothing of CUDA is needed to build. A
 * test compares every line of it with the real cuda.h where that is installed.
 *
 * The library is never loaded by us: no address can be a GPU's before somebody else in the process has loaded it.
 */
#ifndef FST3FS_CUDA_DRIVER_H
#define FST3FS_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Handles by the tags that cuda.h gives them. */
struct CUctx_st;
struct CUstream_st;
struct CUevent_st;

/* CUresult, and the values of it that mean something here. */
typedef unsigned int fst3fs_cu_result;

enum {
	FST3FS_CU_SUCCESS = 0,
	FST3FS_CU_INVALID_VALUE = 1,
	FST3FS_CU_NOT_INITIALIZED = 3,
	FST3FS_CU_DEINITIALIZED = 4,
	FST3FS_CU_INVALID_CONTEXT = 201,
	FST3FS_CU_NOT_READY = 600,
	FST3FS_CU_ALREADY_REGISTERED = 712,
};

enum { /* CUpointer_attribute */
       FST3FS_CU_POINTER_CONTEXT = 1,
       FST3FS_CU_POINTER_MEMORY_TYPE = 2,
       FST3FS_CU_POINTER_IS_MANAGED = 8,
       FST3FS_CU_POINTER_DEVICE_ORDINAL = 9,
};

enum { /* flags */
       FST3FS_CU_MEMORY_DEVICE = 2,
       FST3FS_CU_STREAM_NON_BLOCKING = 1,
       FST3FS_CU_EVENT_DISABLE_TIMING = 2,
       FST3FS_CU_REGISTER_PORTABLE = 1,
};

/* The default stream of a context, in the meaning that it has for programs built without per-thread default streams. */
#define FST3FS_CU_STREAM_LEGACY ((struct CUstream_st *)1)

/* CALL(member, exported name, parameters). Handed the exported name since cuda.h hides versions behind macros. */
#define FST3FS_CUDA_REQUIRED(CALL)                                                                                     \
	CALL(pointer_get_attributes, cuPointerGetAttributes, (unsigned, unsigned *, void **, unsigned long long))      \
	CALL(get_error_name, cuGetErrorName, (fst3fs_cu_result, const char **))                                        \
	CALL(device_get, cuDeviceGet, (int *, int))                                                                    \
	CALL(primary_get_state, cuDevicePrimaryCtxGetState, (int, unsigned *, int *))                                  \
	CALL(primary_retain, cuDevicePrimaryCtxRetain, (struct CUctx_st **, int))                                      \
	CALL(primary_release, cuDevicePrimaryCtxRelease_v2, (int))                                                     \
	CALL(ctx_push, cuCtxPushCurrent_v2, (struct CUctx_st *))                                                       \
	CALL(ctx_pop, cuCtxPopCurrent_v2, (struct CUctx_st **))                                                        \
	CALL(stream_create, cuStreamCreate, (struct CUstream_st **, unsigned))                                         \
	CALL(stream_destroy, cuStreamDestroy_v2, (struct CUstream_st *))                                               \
	CALL(stream_synchronize, cuStreamSynchronize, (struct CUstream_st *))                                          \
	CALL(stream_wait_event, cuStreamWaitEvent, (struct CUstream_st *, struct CUevent_st *, unsigned))              \
	CALL(event_create, cuEventCreate, (struct CUevent_st **, unsigned))                                            \
	CALL(event_destroy, cuEventDestroy_v2, (struct CUevent_st *))                                                  \
	CALL(event_record, cuEventRecord, (struct CUevent_st *, struct CUstream_st *))                                 \
	CALL(event_query, cuEventQuery, (struct CUevent_st *))                                                         \
	CALL(launch_host_func, cuLaunchHostFunc, (struct CUstream_st *, void (*)(void *), void *))                     \
	CALL(memcpy_htod_async, cuMemcpyHtoDAsync_v2, (unsigned long long, const void *, size_t, struct CUstream_st *))

/* Without these copies are slower, and still right. */
#define FST3FS_CUDA_OPTIONAL(CALL)                                                                                     \
	CALL(get_error_string, cuGetErrorString, (fst3fs_cu_result, const char **))                                    \
	CALL(host_register, cuMemHostRegister_v2, (void *, size_t, unsigned))                                          \
	CALL(host_unregister, cuMemHostUnregister, (void *))                                                           \
	CALL(device_pci_bus_id, cuDeviceGetPCIBusId, (char *, int, int))

/* NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration's parts cannot stand in parentheses */
#define FST3FS_CUDA_MEMBER(member, exported, parameters) fst3fs_cu_result(*member) parameters;
struct fst3fs_cuda_driver {
	FST3FS_CUDA_REQUIRED(FST3FS_CUDA_MEMBER)
	FST3FS_CUDA_OPTIONAL(FST3FS_CUDA_MEMBER)
	const char *missing; /* the first required function that this driver does not have, or NULL */
};
#undef FST3FS_CUDA_MEMBER

/* The driver, if this process has loaded it: 0 and `*out`, filled once and valid for ever; NULL otherwise. -ENOMEM:
 * nobody knows, and an address may be a GPU's. */
int fst3fs_cuda_driver_get(const struct fst3fs_cuda_driver **out);

/* Records "<where>: <call> failed: <the driver's name for rc> (<its text>)" and returns -EIO. */
int fst3fs_cuda_error(const struct fst3fs_cuda_driver *cu, struct fst3fs_error *err, const char *where,
		      const char *call, fst3fs_cu_result rc);

/* The driver's name for a result, never NULL. */
const char *fst3fs_cuda_result_name(const struct fst3fs_cuda_driver *cu, fst3fs_cu_result rc);

#endif

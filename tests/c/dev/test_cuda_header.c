/* SPDX-License-Identifier: Apache-2.0 */
/* Every line of cuda_driver.h against NVIDIA's cuda.h. What is wrong fails to compile. */
#include <cuda.h>

#include "cuda_driver.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): the name of a function is made into a string */
#define SAME(member, exported, parameters)                                                                             \
	_Static_assert(__builtin_types_compatible_p(__typeof__(((struct fst3fs_cuda_driver *)0)->member),              \
						    __typeof__(&exported)),                                            \
		       #exported " is declared differently");
/* NOLINTEND(bugprone-macro-parentheses) */
FST3FS_CUDA_REQUIRED(SAME)
FST3FS_CUDA_OPTIONAL(SAME)

#define EQUAL(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs " has another value");
EQUAL(FST3FS_CU_SUCCESS, CUDA_SUCCESS)
EQUAL(FST3FS_CU_INVALID_VALUE, CUDA_ERROR_INVALID_VALUE)
EQUAL(FST3FS_CU_NOT_INITIALIZED, CUDA_ERROR_NOT_INITIALIZED)
EQUAL(FST3FS_CU_DEINITIALIZED, CUDA_ERROR_DEINITIALIZED)
EQUAL(FST3FS_CU_INVALID_CONTEXT, CUDA_ERROR_INVALID_CONTEXT)
EQUAL(FST3FS_CU_NOT_READY, CUDA_ERROR_NOT_READY)
EQUAL(FST3FS_CU_ALREADY_REGISTERED, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
EQUAL(FST3FS_CU_POINTER_CONTEXT, CU_POINTER_ATTRIBUTE_CONTEXT)
EQUAL(FST3FS_CU_POINTER_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
EQUAL(FST3FS_CU_POINTER_IS_MANAGED, CU_POINTER_ATTRIBUTE_IS_MANAGED)
EQUAL(FST3FS_CU_POINTER_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
EQUAL(FST3FS_CU_MEMORY_DEVICE, CU_MEMORYTYPE_DEVICE)
EQUAL(FST3FS_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING)
EQUAL(FST3FS_CU_EVENT_DISABLE_TIMING, CU_EVENT_DISABLE_TIMING)
EQUAL(FST3FS_CU_REGISTER_PORTABLE, CU_MEMHOSTREGISTER_PORTABLE)

int main(void)
{
	return FST3FS_CU_STREAM_LEGACY == CU_STREAM_LEGACY ? 0 : 1;
}

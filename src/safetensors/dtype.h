/* SPDX-License-Identifier: Apache-2.0 */
/* The element types of the format. */
#ifndef FST3FS_SAFETENSORS_DTYPE_H
#define FST3FS_SAFETENSORS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

enum safetensors_dtype {
	SAFETENSORS_BOOL,
	SAFETENSORS_F4,
	SAFETENSORS_F6_E2M3,
	SAFETENSORS_F6_E3M2,
	SAFETENSORS_U8,
	SAFETENSORS_I8,
	SAFETENSORS_F8_E5M2,
	SAFETENSORS_F8_E4M3,
	SAFETENSORS_F8_E8M0,
	SAFETENSORS_F8_E4M3FNUZ,
	SAFETENSORS_F8_E5M2FNUZ,
	SAFETENSORS_I16,
	SAFETENSORS_U16,
	SAFETENSORS_F16,
	SAFETENSORS_BF16,
	SAFETENSORS_I32,
	SAFETENSORS_U32,
	SAFETENSORS_F32,
	SAFETENSORS_C64,
	SAFETENSORS_F64,
	SAFETENSORS_I64,
	SAFETENSORS_U64,
	SAFETENSORS_DTYPES, /* how many there are */
};

/* As headers spell it, for example "BF16". Static storage. */
const char *safetensors_dtype_name(enum safetensors_dtype dtype);

/* Bits of one element: 4, 6, 8, 16, 32 or 64. */
unsigned safetensors_dtype_bits(enum safetensors_dtype dtype);

/* The dtype that headers spell as the `bytes` bytes at `name`; false when the format has none. */
bool safetensors_dtype_from_name(const char *name, size_t bytes, enum safetensors_dtype *out);

#endif

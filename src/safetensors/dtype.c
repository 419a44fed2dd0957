/* SPDX-License-Identifier: Apache-2.0 */
#include "dtype.h"

#include <string.h>

/* The list of safetensors 0.8; F4 and F6 are the element types of the OCP microscaling formats. */
#define DTYPE(name, bits) [SAFETENSORS_##name] = {#name, sizeof(#name) - 1, bits}

static const struct {
	const char *name;
	size_t bytes; /* of the name */
	unsigned bits;
} dtypes[SAFETENSORS_DTYPES] = {
	DTYPE(BOOL, 8),	       DTYPE(F4, 4),	  DTYPE(F6_E2M3, 6), DTYPE(F6_E3M2, 6), DTYPE(U8, 8),
	DTYPE(I8, 8),	       DTYPE(F8_E5M2, 8), DTYPE(F8_E4M3, 8), DTYPE(F8_E8M0, 8), DTYPE(F8_E4M3FNUZ, 8),
	DTYPE(F8_E5M2FNUZ, 8), DTYPE(I16, 16),	  DTYPE(U16, 16),    DTYPE(F16, 16),	DTYPE(BF16, 16),
	DTYPE(I32, 32),	       DTYPE(U32, 32),	  DTYPE(F32, 32),    DTYPE(C64, 64),	DTYPE(F64, 64),
	DTYPE(I64, 64),	       DTYPE(U64, 64),
};

#undef DTYPE

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
	return dtypes[dtype].name;
}

unsigned safetensors_dtype_bits(enum safetensors_dtype dtype)
{
	return dtypes[dtype].bits;
}

bool safetensors_dtype_from_name(const char *name, size_t bytes, enum safetensors_dtype *out)
{
	for (int i = 0; i < SAFETENSORS_DTYPES; i++) {
		if (dtypes[i].bytes == bytes && memcmp(dtypes[i].name, name, bytes) == 0) {
			*out = (enum safetensors_dtype)i;
			return true;
		}
	}
	return false;
}

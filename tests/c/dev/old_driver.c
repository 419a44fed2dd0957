/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of long ago: it knows what an address is, and little else. Every address is memory of its one GPU. */
#include <stddef.h>

__attribute__((visibility("default"))) unsigned cuPointerGetAttributes(unsigned n, unsigned *names, void **values,
								       unsigned long long address);

unsigned cuPointerGetAttributes(unsigned n, unsigned *names, void **values, unsigned long long address)
{
	if (!address)
		return 999; /* CUDA_ERROR_UNKNOWN, for which this driver has no name */
	for (unsigned i = 0; i < n; i++) {
		if (names[i] == 2)
			*(unsigned *)values[i] = 2;
		if (names[i] == 9)
			*(int *)values[i] = 0;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-1-3 (Aumasson and Bernstein, 2012): a short hash that is unpredictable to those who do not know its key. */
#ifndef FST3FS_SAFETENSORS_SIPHASH_H
#define FST3FS_SAFETENSORS_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t st_siphash(const uint64_t key[2], const void *bytes, size_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, as strict as JSON demands. */
#ifndef FST3FS_SAFETENSORS_UTF8_H
#define FST3FS_SAFETENSORS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* How many bytes at `s` are UTF-8 without a NUL: `bytes` when all are, otherwise where the first bad sequence begins.
 */
size_t st_utf8_valid(const char *s, size_t bytes);

/* Writes the character `code`, up to U+10FFFF; returns its bytes, 1 to 4. */
size_t st_utf8_put(char *out, uint32_t code);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a safetensors file: bytes in, verdict out. No I/O. */
#ifndef FST3FS_SAFETENSORS_HEADER_H
#define FST3FS_SAFETENSORS_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum {
	SAFETENSORS_PREFIX_BYTES = 8,		/* the JSON's length, a little-endian u64 */
	SAFETENSORS_MAX_JSON_BYTES = 100000000, /* the bound that the safetensors library sets */
};

/* Reads the length of the JSON from the file's first bytes (`have` of them) and checks it against `file_size`. On
 * success `json_bytes` is at most SAFETENSORS_MAX_JSON_BYTES. -EINVAL (FST3FS_ERROR_VALUE) when the file cannot be one.
 */
int safetensors_check_prefix(const uint8_t *bytes, size_t have, uint64_t file_size, uint64_t *json_bytes,
			     struct fst3fs_error *err);

/* Checks that the JSON is one object's worth of UTF-8: begins with '{', is valid UTF-8, holds no NUL. */
int safetensors_check_json(const uint8_t *json, size_t bytes, struct fst3fs_error *err);

#endif

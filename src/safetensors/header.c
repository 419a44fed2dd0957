/* SPDX-License-Identifier: Apache-2.0 */
#include "header.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "fault.h"
#include "utf8.h"

static const char subject[] = "not a safetensors file";

int safetensors_check_prefix(const uint8_t *bytes, size_t have, uint64_t file_size, uint64_t *json_bytes,
			     struct fst3fs_error *err)
{
	uint64_t length;

	if (file_size < SAFETENSORS_PREFIX_BYTES || have < SAFETENSORS_PREFIX_BYTES)
		return st_fault(err, SAFETENSORS_FILE_TOO_SHORT, 0, subject,
				"%" PRIu64 " bytes, shorter than the 8-byte length", file_size);
	memcpy(&length, bytes, sizeof(length));
	length = le64toh(length);
	if (length > SAFETENSORS_MAX_JSON_BYTES)
		return st_fault(err, SAFETENSORS_HEADER_TOO_LONG, 0, subject,
				"header length %" PRIu64 " is over the limit of %d", length,
				SAFETENSORS_MAX_JSON_BYTES);
	if (length > file_size - SAFETENSORS_PREFIX_BYTES)
		return st_fault(err, SAFETENSORS_HEADER_BEYOND_FILE, 0, "not a safetensors file, or truncated",
				"header length %" PRIu64 " goes beyond the file's %" PRIu64 " bytes", length,
				file_size);
	*json_bytes = length;
	return 0;
}

int safetensors_check_json(const uint8_t *json, size_t bytes, struct fst3fs_error *err)
{
	size_t valid;

	if (bytes == 0 || json[0] != '{')
		return st_fault(err, SAFETENSORS_HEADER_START, SAFETENSORS_PREFIX_BYTES, subject,
				"the header of %zu bytes does not start with '{'", bytes);
	valid = st_utf8_valid((const char *)json, bytes);
	if (valid < bytes)
		return st_fault(err, SAFETENSORS_JSON_UTF8, SAFETENSORS_PREFIX_BYTES + valid, subject,
				"the header of %zu bytes is not UTF-8", bytes);
	return 0;
}

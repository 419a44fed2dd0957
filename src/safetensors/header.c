/* SPDX-License-Identifier: Apache-2.0 */
#include "header.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

int safetensors_check_prefix(const uint8_t *bytes, size_t have, uint64_t file_size, uint64_t *json_bytes,
			     struct fst3fs_error *err)
{
	uint64_t length;

	if (file_size < SAFETENSORS_PREFIX_BYTES || have < SAFETENSORS_PREFIX_BYTES)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "not a safetensors file: %" PRIu64 " bytes, shorter than the 8-byte length",
					   file_size);
	memcpy(&length, bytes, sizeof(length));
	length = le64toh(length);
	if (length > SAFETENSORS_MAX_JSON_BYTES)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "not a safetensors file: header length %" PRIu64 " is over the limit of %d",
					   length, SAFETENSORS_MAX_JSON_BYTES);
	if (length > file_size - SAFETENSORS_PREFIX_BYTES)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "not a safetensors file, or truncated: header length %" PRIu64
					   " goes beyond the file's %" PRIu64 " bytes",
					   length, file_size);
	*json_bytes = length;
	return 0;
}

/* Bytes of the UTF-8 sequence at `s`, 0 when it is not one (overlong forms, surrogates and beyond U+10FFFF are not). */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
	static const struct {
		uint8_t first_low, first_high, second_low, second_high, bytes;
	} forms[] = {
		{0x01, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	size_t i = 0, bytes;

	while (i < sizeof(forms) / sizeof(forms[0]) && (s[0] < forms[i].first_low || s[0] > forms[i].first_high))
		i++;
	if (i == sizeof(forms) / sizeof(forms[0]) || forms[i].bytes > left)
		return 0;
	bytes = forms[i].bytes;
	if (bytes > 1 && (s[1] < forms[i].second_low || s[1] > forms[i].second_high))
		return 0;
	for (size_t k = 2; k < bytes; k++)
		if ((s[k] & 0xc0) != 0x80)
			return 0;
	return bytes;
}

/* Headers are all but always ASCII: eight bytes at a time as long as none has its top bit set and none is NUL. */
static size_t skip_ascii(const uint8_t *s, size_t bytes)
{
	const uint64_t tops = 0x8080808080808080u, ones = 0x0101010101010101u;
	size_t at = 0;

	for (uint64_t word; at + sizeof(word) <= bytes; at += sizeof(word)) {
		memcpy(&word, s + at, sizeof(word));
		if ((word | (word - ones)) & tops)
			break;
	}
	return at;
}

int safetensors_check_json(const uint8_t *json, size_t bytes, struct fst3fs_error *err)
{
	size_t at = 0;

	if (bytes == 0 || json[0] != '{')
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					   "not a safetensors file: the header of %zu bytes does not start with '{'",
					   bytes);
	while (at < bytes) {
		size_t n;

		at += skip_ascii(json + at, bytes - at);
		if (at == bytes)
			break;
		n = utf8_sequence(json + at, bytes - at);
		if (n == 0)
			return fst3fs_err_set_kind(
				err, FST3FS_ERROR_VALUE, -EINVAL,
				"not a safetensors file: the header of %zu bytes is not UTF-8 at byte %zu", bytes, at);
		at += n;
	}
	return 0;
}

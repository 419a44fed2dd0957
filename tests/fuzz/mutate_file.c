/* SPDX-License-Identifier: Apache-2.0 */
/* For safetensors files: changes the header, and mostly keeps its length right and as many bytes of data behind it as
 * it speaks of, so that what libFuzzer makes is not all refused for those. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "header.h"
#include "table.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

enum { PREFIX = SAFETENSORS_PREFIX_BYTES };

/* How long a file with this header is, as far as that can be told and fits; else `size`. */
static size_t wanted_size(const uint8_t *file, size_t size, size_t length, size_t max)
{
	struct safetensors_table *table = NULL;
	struct fst3fs_error err;

	fst3fs_err_reset(&err);
	/* In a file that is longer than may be, all is well but what is left over. */
	if (safetensors_table_parse((const char *)file + PREFIX, length, (uint64_t)max + 1, &table, &err) == 0)
		safetensors_table_free(table);
	else if (err.rule == SAFETENSORS_DATA_LEFT_OVER)
		return (size_t)err.offset;
	return size;
}

static size_t resize(uint8_t *file, size_t size, size_t wanted)
{
	if (wanted > size)
		memset(file + size, 0, wanted - size);
	return wanted;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	uint64_t length = 0;
	size_t data_bytes, changed;
	uint8_t *header;

	if (size >= PREFIX)
		memcpy(&length, data, sizeof(length));
	length = le64toh(length);
	if (seed % 16 == 0 || size < PREFIX || length > size - PREFIX || max - size + length == 0)
		return LLVMFuzzerMutate(data, size, max);
	data_bytes = size - PREFIX - (size_t)length;
	header = malloc(max);
	HOLDS(header);
	memcpy(header, data + PREFIX, (size_t)length);
	changed = LLVMFuzzerMutate(header, (size_t)length, max - PREFIX - data_bytes);
	memmove(data + PREFIX + changed, data + PREFIX + length, data_bytes);
	memcpy(data + PREFIX, header, changed);
	free(header);
	length = htole64(changed);
	memcpy(data, &length, sizeof(length));
	size = PREFIX + changed + data_bytes;
	return seed % 16 == 1 ? size : resize(data, size, wanted_size(data, size, changed, max));
}

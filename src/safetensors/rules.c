/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <stddef.h>

static const char *const names[] = {
	[SAFETENSORS_FILE_TOO_SHORT] = "file-too-short",
	[SAFETENSORS_HEADER_TOO_LONG] = "header-too-long",
	[SAFETENSORS_HEADER_BEYOND_FILE] = "header-beyond-file",
	[SAFETENSORS_HEADER_START] = "header-start",
	[SAFETENSORS_JSON_UTF8] = "json-utf8",
	[SAFETENSORS_JSON_SYNTAX] = "json-syntax",
	[SAFETENSORS_JSON_CUT_SHORT] = "json-cut-short",
	[SAFETENSORS_JSON_TRAILING] = "json-trailing",
	[SAFETENSORS_JSON_DEPTH] = "json-depth",
	[SAFETENSORS_JSON_CONTROL] = "json-control",
	[SAFETENSORS_JSON_ESCAPE] = "json-escape",
	[SAFETENSORS_JSON_SURROGATE] = "json-surrogate",
	[SAFETENSORS_JSON_NUMBER] = "json-number",
	[SAFETENSORS_TENSOR_NAME_NUL] = "tensor-name-nul",
	[SAFETENSORS_TENSOR_TWICE] = "tensor-twice",
	[SAFETENSORS_TENSOR_TYPE] = "tensor-type",
	[SAFETENSORS_KEY_TWICE] = "key-twice",
	[SAFETENSORS_KEY_MISSING] = "key-missing",
	[SAFETENSORS_DTYPE_TYPE] = "dtype-type",
	[SAFETENSORS_DTYPE_UNKNOWN] = "dtype-unknown",
	[SAFETENSORS_SHAPE_TYPE] = "shape-type",
	[SAFETENSORS_SHAPE_OVERFLOW] = "shape-overflow",
	[SAFETENSORS_SHAPE_SUB_BYTE] = "shape-sub-byte",
	[SAFETENSORS_OFFSETS_TYPE] = "offsets-type",
	[SAFETENSORS_OFFSETS_REVERSED] = "offsets-reversed",
	[SAFETENSORS_OFFSETS_SIZE] = "offsets-size",
	[SAFETENSORS_DATA_GAP] = "data-gap",
	[SAFETENSORS_DATA_OVERLAP] = "data-overlap",
	[SAFETENSORS_DATA_BEYOND_FILE] = "data-beyond-file",
	[SAFETENSORS_DATA_LEFT_OVER] = "data-left-over",
	[SAFETENSORS_METADATA_TYPE] = "metadata-type",
	[SAFETENSORS_METADATA_TWICE] = "metadata-twice",
	[SAFETENSORS_INDEX_TYPE] = "index-type",
	[SAFETENSORS_INDEX_MAP_MISSING] = "index-map-missing",
	[SAFETENSORS_INDEX_MAP_TYPE] = "index-map-type",
	[SAFETENSORS_INDEX_MAP_TWICE] = "index-map-twice",
	[SAFETENSORS_INDEX_FILE_NAME] = "index-file-name",
};

const char *safetensors_rule_name(enum safetensors_rule rule)
{
	const char *name = (size_t)rule < sizeof(names) / sizeof(names[0]) ? names[rule] : NULL;

	return name ? name : "";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that a safetensors file, or the index of a checkpoint, can break: one code each. docs/safetensors-rules.md
 * explains them. */
#ifndef FST3FS_SAFETENSORS_RULES_H
#define FST3FS_SAFETENSORS_RULES_H

#include "err.h"

/* Numbers stay what they are: a rule that goes leaves a gap, a new one takes the next number of its group. */
enum safetensors_rule {
	SAFETENSORS_RULE_NONE = 0,

	/* Framing. */
	SAFETENSORS_FILE_TOO_SHORT = 1, /* no room for the 8-byte length */
	SAFETENSORS_HEADER_TOO_LONG,	/* over SAFETENSORS_MAX_JSON_BYTES */
	SAFETENSORS_HEADER_BEYOND_FILE,
	SAFETENSORS_HEADER_START, /* does not begin with '{' */

	/* JSON. */
	SAFETENSORS_JSON_UTF8 = 20,
	SAFETENSORS_JSON_SYNTAX,
	SAFETENSORS_JSON_CUT_SHORT, /* ends inside the object */
	SAFETENSORS_JSON_TRAILING,  /* something but white space behind the object */
	SAFETENSORS_JSON_DEPTH,
	SAFETENSORS_JSON_CONTROL, /* a control character inside a string */
	SAFETENSORS_JSON_ESCAPE,
	SAFETENSORS_JSON_SURROGATE, /* half of a surrogate pair */
	SAFETENSORS_JSON_NUMBER,    /* not a number of JSON's: leading zeros, a bare '-', ... */

	/* A tensor. */
	SAFETENSORS_TENSOR_NAME_NUL = 40,
	SAFETENSORS_TENSOR_TWICE,
	SAFETENSORS_TENSOR_TYPE, /* not an object */
	SAFETENSORS_KEY_TWICE,
	SAFETENSORS_KEY_MISSING,
	SAFETENSORS_DTYPE_TYPE, /* not a string */
	SAFETENSORS_DTYPE_UNKNOWN,
	SAFETENSORS_SHAPE_TYPE, /* not an array of integers >= 0 that fit 64 bits */
	SAFETENSORS_SHAPE_OVERFLOW,
	SAFETENSORS_SHAPE_SUB_BYTE, /* ends inside a byte */
	SAFETENSORS_OFFSETS_TYPE,   /* not an array of two such integers */
	SAFETENSORS_OFFSETS_REVERSED,
	SAFETENSORS_OFFSETS_SIZE, /* end - begin is not shape x dtype */

	/* All tensors together. */
	SAFETENSORS_DATA_GAP = 60,
	SAFETENSORS_DATA_OVERLAP,
	SAFETENSORS_DATA_BEYOND_FILE,
	SAFETENSORS_DATA_LEFT_OVER, /* the file goes on behind the last tensor */

	/* __metadata__. */
	SAFETENSORS_METADATA_TYPE = 80, /* not an object of strings */
	SAFETENSORS_METADATA_TWICE,	/* __metadata__, or a key in it */

	/* The index of a checkpoint. */
	SAFETENSORS_INDEX_TYPE = 100,  /* not an object */
	SAFETENSORS_INDEX_MAP_MISSING, /* no weight_map */
	SAFETENSORS_INDEX_MAP_TYPE,    /* weight_map is not an object of strings */
	SAFETENSORS_INDEX_MAP_TWICE,   /* two of weight_map */
	SAFETENSORS_INDEX_FILE_NAME,   /* empty, absolute, or leads out of the index's directory */
};

/* The name of a rule as errors and documentation spell it, for example "data-gap". "" for none. Static storage. */
const char *safetensors_rule_name(enum safetensors_rule rule);

#endif

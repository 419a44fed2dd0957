/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a checkpoint, model.safetensors.index.json: which file holds which tensor. Pure and strict; no I/O.
 *
 * Like a table it never changes once it is parsed, and owns what its functions return.
 */
#ifndef FST3FS_SAFETENSORS_INDEX_H
#define FST3FS_SAFETENSORS_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "rules.h"

struct safetensors_placement {
	const char *name;  /* of the tensor: unescaped UTF-8, NUL-terminated, with no NUL inside */
	const char *file;  /* relative to the index's directory and inside it, NUL-terminated */
	size_t file_index; /* of that file in safetensors_index_file_at() */
	uint64_t position; /* byte of the index at which `name` stands, for errors about it */
};

struct safetensors_index;

/*
 * Parses the `bytes` bytes of an index. Its `weight_map` is what counts; other keys are skipped. `json` is not kept.
 *
 * Returns 0; -ENOMEM; or -EINVAL (FST3FS_ERROR_VALUE) with err->rule, err->offset (byte of the index) and a text that
 * names rule, tensor and byte. `err` may be NULL, and has been reset by the caller. `out` is untouched on failure.
 * Undone by: safetensors_index_free().
 */
int safetensors_index_parse(const char *json, size_t bytes, struct safetensors_index **out, struct fst3fs_error *err);
/* NULL is fine. */
void safetensors_index_free(struct safetensors_index *index);

size_t safetensors_index_count(const struct safetensors_index *index);
/* In the order of the index. */
const struct safetensors_placement *safetensors_index_at(const struct safetensors_index *index, size_t i);

/* The files that the index names, each once, in the order of their first tensor. */
size_t safetensors_index_file_count(const struct safetensors_index *index);
const char *safetensors_index_file_at(const struct safetensors_index *index, size_t i);

#endif

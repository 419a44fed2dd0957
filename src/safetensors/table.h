/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of a safetensors file: the JSON of its header in, a table out. Pure and strict; no I/O.
 *
 * A table never changes once it is parsed, so any number of threads may look into it. What its functions return belongs
 * to the table and lives as long.
 */
#ifndef FST3FS_SAFETENSORS_TABLE_H
#define FST3FS_SAFETENSORS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "err.h"
#include "rules.h"

struct safetensors_tensor {
	const char *name; /* unescaped UTF-8, NUL-terminated, with no NUL inside; may be "" */
	enum safetensors_dtype dtype;
	uint32_t rank;
	const uint64_t *shape; /* `rank` of them, outermost first; each may be 0 */
	uint64_t begin, end;   /* bytes of the FILE: begin <= end <= file size, and end - begin is shape x dtype */
};

/* Strings may hold NULs, so they come with their lengths; they are NUL-terminated besides. */
struct safetensors_metadatum {
	const char *key, *value;
	size_t key_bytes, value_bytes;
};

struct safetensors_table;

/*
 * Parses the JSON of a header, `bytes` bytes behind the 8-byte length of a file of `file_size` bytes. `json` is not
 * kept.
 *
 * Returns 0; -ENOMEM; or -EINVAL (FST3FS_ERROR_VALUE) when the file breaks a rule: err->rule says which, err->offset is
 * the byte of the FILE, and the text names rule, tensor and byte. `err` may be NULL, and has been reset by the caller.
 * `out` is untouched on failure. Undone by: safetensors_table_free().
 */
int safetensors_table_parse(const char *json, size_t bytes, uint64_t file_size, struct safetensors_table **out,
			    struct fst3fs_error *err);
/* NULL is fine. */
void safetensors_table_free(struct safetensors_table *table);

size_t safetensors_table_count(const struct safetensors_table *table);

/* The tensors in the order of their bytes: of begin, then end, then name. Each begins where the one before it ends, the
 * first where data begins, and the last ends with the file. */
const struct safetensors_tensor *safetensors_table_at(const struct safetensors_table *table, size_t i);

/* NULL when there is no tensor of that name. */
const struct safetensors_tensor *safetensors_table_find(const struct safetensors_table *table, const char *name);

/* Has the header a __metadata__ object, if only an empty one? */
bool safetensors_has_metadata(const struct safetensors_table *table);
size_t safetensors_metadata_count(const struct safetensors_table *table);
/* In the order of the file. */
const struct safetensors_metadatum *safetensors_metadata_at(const struct safetensors_table *table, size_t i);

#endif

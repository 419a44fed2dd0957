/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a checkpoint, model.safetensors.index.json.
 *
 * Covers: src/safetensors/index.c
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "index.h"

/* Each file is named once, and leads nowhere but into the index's directory. */
static void check_index(const struct safetensors_index *index)
{
	for (size_t i = 0; i < safetensors_index_count(index); i++) {
		const struct safetensors_placement *p = safetensors_index_at(index, i);

		HOLDS(p->file_index < safetensors_index_file_count(index));
		HOLDS(p->file == safetensors_index_file_at(index, p->file_index));
		HOLDS(p->name);
	}
	for (size_t i = 0; i < safetensors_index_file_count(index); i++) {
		const char *file = safetensors_index_file_at(index, i);

		HOLDS(file[0] && file[0] != '/' && strncmp(file, "../", 3) != 0 && !strstr(file, "/../"));
		for (size_t k = 0; k < i; k++)
			HOLDS(strcmp(file, safetensors_index_file_at(index, k)) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *json = fuzz_copy(data, size);
	struct safetensors_index *index = NULL;
	struct fst3fs_error err;
	int rc;

	fst3fs_err_reset(&err);
	rc = safetensors_index_parse(json, size, &index, &err);
	/* Nothing in the index leads into it. */
	free(json);
	HOLDS((rc == 0) == (index != NULL));
	if (index)
		check_index(index);
	else
		HOLDS(err.code == rc && err.text[0] && err.offset >= 0 && (uint64_t)err.offset <= size);
	safetensors_index_free(index);
	return 0;
}

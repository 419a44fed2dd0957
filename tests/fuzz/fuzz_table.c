/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A safetensors file: its verdict, and a walk over the table of one that is valid.
 *
 * Covers: src/safetensors/arena.c src/safetensors/dtype.c src/safetensors/fault.c src/safetensors/header.c
 *	src/safetensors/json.c src/safetensors/json_fault.c src/safetensors/json_string.c src/safetensors/layout.c
 *	src/safetensors/metadata.c src/safetensors/names.c src/safetensors/siphash.c src/safetensors/table.c
 *	src/safetensors/tensor.c src/safetensors/tensor_name.c src/safetensors/utf8.c
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "header.h"
#include "table.h"
#include "utf8.h"

static void check_fault(const struct fst3fs_error *err, int rc, size_t size)
{
	HOLDS(err->code == rc && err->text[0]);
	HOLDS(*safetensors_rule_name((enum safetensors_rule)err->rule));
	HOLDS(err->offset >= 0 && (uint64_t)err->offset <= size);
	HOLDS(st_utf8_valid(err->text, strlen(err->text)) == strlen(err->text));
}

/* Every byte of data is one tensor's, and each tensor is found by its name. */
static void check_tensors(const struct safetensors_table *table, uint64_t at, uint64_t size)
{
	for (size_t i = 0; i < safetensors_table_count(table); i++) {
		const struct safetensors_tensor *t = safetensors_table_at(table, i);
		uint64_t bits = safetensors_dtype_bits(t->dtype);

		for (uint32_t k = 0; k < t->rank; k++)
			bits *= t->shape[k];
		HOLDS(t->begin == at && t->end >= at && t->end - at == bits / 8 && bits % 8 == 0);
		HOLDS(safetensors_table_find(table, t->name) == t);
		at = t->end;
	}
	HOLDS(at == size);
}

static void check_metadata(const struct safetensors_table *table)
{
	HOLDS(safetensors_has_metadata(table) || safetensors_metadata_count(table) == 0);
	for (size_t i = 0; i < safetensors_metadata_count(table); i++) {
		const struct safetensors_metadatum *m = safetensors_metadata_at(table, i);

		HOLDS(m->key[m->key_bytes] == '\0' && m->value[m->value_bytes] == '\0');
	}
}

static int parse(const uint8_t *data, size_t size, uint64_t length, struct fst3fs_error *err)
{
	char *json = fuzz_copy(data + SAFETENSORS_PREFIX_BYTES, (size_t)length);
	struct safetensors_table *table = NULL;
	int rc = safetensors_table_parse(json, (size_t)length, size, &table, err);

	/* Nothing in the table leads into it. */
	free(json);
	HOLDS((rc == 0) == (table != NULL));
	if (table) {
		check_tensors(table, SAFETENSORS_PREFIX_BYTES + length, size);
		check_metadata(table);
	}
	safetensors_table_free(table);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fst3fs_error err;
	uint64_t length = 0;
	int rc;

	fst3fs_err_reset(&err);
	rc = safetensors_check_prefix(data, size, size, &length, &err);
	if (rc == 0)
		rc = parse(data, size, length, &err);
	if (rc < 0)
		check_fault(&err, rc, size);
	return 0;
}

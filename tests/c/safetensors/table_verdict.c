/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library makes of safetensors files and of indices, for tests that compare it with others.
 *
 *   table_verdict FILE...     `broken RULE NUMBER BYTE TEXT`, or `valid` and a line for each tensor and each metadatum
 *   table_verdict --rules     `NUMBER NAME` of every rule
 *
 * A FILE that ends in ".json" is an index. Names are printed as the hexadecimal digits of their bytes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "index.h"
#include "table.h"

static void print_hex(const char *s, size_t bytes)
{
	putchar(' ');
	for (size_t i = 0; i < bytes; i++)
		printf("%02x", (unsigned char)s[i]);
}

static void print_table(const struct safetensors_table *table)
{
	puts(safetensors_has_metadata(table) ? "valid metadata" : "valid");
	for (size_t i = 0; i < safetensors_table_count(table); i++) {
		const struct safetensors_tensor *t = safetensors_table_at(table, i);

		printf("tensor %s %" PRIu64 " %" PRIu64 " %" PRIu32, safetensors_dtype_name(t->dtype), t->begin, t->end,
		       t->rank);
		for (uint32_t k = 0; k < t->rank; k++)
			printf(" %" PRIu64, t->shape[k]);
		print_hex(t->name, strlen(t->name));
		putchar('\n');
	}
	for (size_t i = 0; i < safetensors_metadata_count(table); i++) {
		const struct safetensors_metadatum *m = safetensors_metadata_at(table, i);

		printf("metadatum");
		print_hex(m->key, m->key_bytes);
		print_hex(m->value, m->value_bytes);
		putchar('\n');
	}
}

static void print_index(const struct safetensors_index *index)
{
	puts("valid");
	for (size_t i = 0; i < safetensors_index_count(index); i++) {
		const struct safetensors_placement *p = safetensors_index_at(index, i);

		printf("placement %zu", p->file_index);
		print_hex(p->name, strlen(p->name));
		print_hex(p->file, strlen(p->file));
		putchar('\n');
	}
}

static int table_of(const uint8_t *bytes, size_t size, struct fst3fs_error *err)
{
	struct safetensors_table *table;
	uint64_t length;
	int rc = safetensors_check_prefix(bytes, size, size, &length, err);

	if (rc < 0)
		return rc;
	rc = safetensors_table_parse((const char *)bytes + SAFETENSORS_PREFIX_BYTES, (size_t)length, size, &table, err);
	if (rc < 0)
		return rc;
	print_table(table);
	safetensors_table_free(table);
	return 0;
}

static int index_of(const uint8_t *bytes, size_t size, struct fst3fs_error *err)
{
	struct safetensors_index *index;
	int rc = safetensors_index_parse((const char *)bytes, size, &index, err);

	if (rc < 0)
		return rc;
	print_index(index);
	safetensors_index_free(index);
	return 0;
}

/* In memory of exactly that size, so that a sanitizer sees a byte read too many. */
static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes;

	if (!file || fseek(file, 0, SEEK_END) < 0) {
		fprintf(stderr, "table_verdict: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	*size = (size_t)ftell(file);
	rewind(file);
	bytes = malloc(*size);
	if (*size && (!bytes || fread(bytes, 1, *size, file) != *size)) {
		fprintf(stderr, "table_verdict: cannot read %s\n", path);
		exit(1);
	}
	fclose(file);
	return bytes;
}

static void print_verdict(const char *path)
{
	size_t size, letters = strlen(path);
	uint8_t *bytes = read_file(path, &size);
	struct fst3fs_error err;
	int rc;

	fst3fs_err_reset(&err);
	if (letters > 5 && strcmp(path + letters - 5, ".json") == 0)
		rc = index_of(bytes, size, &err);
	else
		rc = table_of(bytes, size, &err);
	if (rc < 0)
		printf("broken %s %d %" PRId64 " %s\n", safetensors_rule_name((enum safetensors_rule)err.rule),
		       err.rule, err.offset, err.text);
	free(bytes);
}

static void print_rules(void)
{
	for (int rule = 1; rule < 1000; rule++)
		if (*safetensors_rule_name((enum safetensors_rule)rule))
			printf("%d %s\n", rule, safetensors_rule_name((enum safetensors_rule)rule));
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--rules") == 0) {
		print_rules();
		return 0;
	}
	for (int i = 1; i < argc; i++)
		print_verdict(argv[i]);
	return 0;
}

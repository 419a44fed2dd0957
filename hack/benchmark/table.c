/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the library takes to parse the header of a file of many tensors, and the index of as many.
 *
 *   table [TENSORS]    100000 without
 *
 * Names are like those of a mixture-of-experts model. In the header that is called shuffled tensors do not stand in the
 * order of their bytes. Prints the best of several rounds, and what a lookup of one name takes.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "header.h"
#include "index.h"
#include "table.h"

#define ROUNDS 15
#define LARGEST_NAME 96
#define TENSOR_BYTES 4096u
#define STRIDE 7919u /* prime: multiples of it are a permutation, unless it divides the count */

struct text {
	char *bytes;
	size_t count;
};

static void die(const char *what, const struct fst3fs_error *err)
{
	fprintf(stderr, "table: %s: %s\n", what, err->text);
	exit(1);
}

static double milliseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

static void name_of(size_t i, char *out)
{
	static const char *const parts[] = {"gate_proj.weight", "gate_proj.weight_scale_inv", "up_proj.weight",
					    "down_proj.weight"};

	snprintf(out, LARGEST_NAME, "model.layers.%zu.mlp.experts.%zu.%s", i / 1024, i / 4 % 256, parts[i % 4]);
}

static struct text make_header(size_t tensors, bool shuffled)
{
	char name[LARGEST_NAME];
	struct text text;
	FILE *f = open_memstream(&text.bytes, &text.count);

	for (size_t i = 0; i < tensors; i++) {
		size_t k = shuffled ? i * STRIDE % tensors : i;

		name_of(k, name);
		fprintf(f, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[32,64],\"data_offsets\":[%zu,%zu]}", i ? "," : "{",
			name, k * TENSOR_BYTES, (k + 1) * TENSOR_BYTES);
	}
	fputs("}", f);
	fclose(f);
	return text;
}

static struct text make_index(size_t tensors)
{
	char name[LARGEST_NAME];
	struct text text;
	FILE *f = open_memstream(&text.bytes, &text.count);

	fputs("{\"metadata\":{\"total_size\":1},\"weight_map\":{", f);
	for (size_t i = 0; i < tensors; i++) {
		name_of(i, name);
		fprintf(f, "%s\n\"%s\": \"model-%05zu-of-00163.safetensors\"", i ? "," : "", name,
			i * 163 / tensors + 1);
	}
	fputs("}}", f);
	fclose(f);
	return text;
}

static void report(const char *what, struct text text, double ms)
{
	printf("%-16s %8.2f MB %8.2f ms %8.0f MB/s\n", what, (double)text.count / 1e6, ms,
	       (double)text.count / 1e3 / ms);
	free(text.bytes);
}

static void time_lookups(const struct safetensors_table *table, size_t tensors)
{
	char name[LARGEST_NAME];
	double spent = milliseconds();

	for (size_t i = 0; i < tensors; i++) {
		name_of(i * STRIDE % tensors, name);
		if (!safetensors_table_find(table, name))
			exit(1);
	}
	spent = milliseconds() - spent;
	printf("%-16s %27.0f ns, the making of the name included\n", "lookup", spent * 1e6 / (double)tensors);
}

static void time_header(const char *what, size_t tensors, bool shuffled)
{
	struct text text = make_header(tensors, shuffled);
	struct safetensors_table *table = NULL;
	struct fst3fs_error err;
	double best = 1e9;

	fst3fs_err_reset(&err);
	for (int round = 0; round < ROUNDS; round++) {
		double begin = milliseconds(), spent;

		safetensors_table_free(table);
		if (safetensors_table_parse(text.bytes, text.count,
					    SAFETENSORS_PREFIX_BYTES + text.count + tensors * TENSOR_BYTES, &table,
					    &err) < 0)
			die(what, &err);
		spent = milliseconds() - begin;
		best = spent < best ? spent : best;
	}
	report(what, text, best);
	if (shuffled)
		time_lookups(table, tensors);
	safetensors_table_free(table);
}

static void time_index(size_t tensors)
{
	struct text text = make_index(tensors);
	struct safetensors_index *index = NULL;
	struct fst3fs_error err;
	double best = 1e9;

	fst3fs_err_reset(&err);
	for (int round = 0; round < ROUNDS; round++) {
		double begin = milliseconds(), spent;

		safetensors_index_free(index);
		if (safetensors_index_parse(text.bytes, text.count, &index, &err) < 0)
			die("index", &err);
		spent = milliseconds() - begin;
		best = spent < best ? spent : best;
	}
	report("index", text, best);
	safetensors_index_free(index);
}

int main(int argc, char **argv)
{
	size_t tensors = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;

	if (tensors == 0 || tensors % STRIDE == 0) {
		fprintf(stderr, "usage: table [TENSORS], not a multiple of %u\n", STRIDE);
		return 2;
	}
	time_header("header", tensors, false);
	time_header("header, shuffled", tensors, true);
	time_index(tensors);
	return 0;
}

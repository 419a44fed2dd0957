/* SPDX-License-Identifier: Apache-2.0 */
/* Gives a target every file of the directories that are named: what libFuzzer does with a corpus, without it. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = NULL;
	long size = -1;

	if (file && fseek(file, 0, SEEK_END) == 0)
		size = ftell(file);
	if (size >= 0)
		bytes = malloc((size_t)size);
	if (size < 0 || (size && !bytes) || fseek(file, 0, SEEK_SET) ||
	    fread(bytes, 1, (size_t)size, file) != (size_t)size) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(file);
	/* Left where it is when the target crashes. */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(bytes, (size_t)size);
	free(bytes);
}

static int replay_directory(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort), files = 0;

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			char *name;

			if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
				exit(1);
			replay_file(name);
			free(name);
			files++;
		}
		free(entries[i]);
	}
	free(entries);
	return files;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (replay_directory(argv[i]) == 0) {
			fprintf(stderr, "%s: no input\n", argv[i]);
			return 1;
		}
	}
	return argc > 1 ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fuzz_violated(const char *file, int line, const char *property)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, property);
	abort();
}

uint64_t fuzz_number(struct fuzz_input *in, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes && in->at < in->end; i++)
		number |= (uint64_t)*in->at++ << 8 * i;
	return number;
}

unsigned fuzz_choice(struct fuzz_input *in, unsigned bound)
{
	return (unsigned)fuzz_number(in, 1) % bound;
}

void *fuzz_copy(const void *bytes, size_t size)
{
	void *copy = malloc(size);

	HOLDS(copy || size == 0);
	if (size)
		memcpy(copy, bytes, size);
	return copy;
}

char *fuzz_line(struct fuzz_input *in)
{
	size_t bytes = 0, left = (size_t)(in->end - in->at);
	char *line;

	while (bytes < left && in->at[bytes] && in->at[bytes] != '\n')
		bytes++;
	line = malloc(bytes + 1);
	HOLDS(line);
	memcpy(line, in->at, bytes);
	line[bytes] = '\0';
	in->at += bytes < left ? bytes + 1 : bytes;
	return line;
}

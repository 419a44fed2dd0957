/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the targets have in common. A target is one function over bytes that nobody has looked at; libFuzzer calls it
 * (make fuzz), or replay.c does, with the inputs of corpus/.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that does not hold is a crash. */
#define HOLDS(property)                                                                                                \
	do {                                                                                                           \
		if (!(property))                                                                                       \
			fuzz_violated(__FILE__, __LINE__, #property);                                                  \
	} while (0)

_Noreturn void fuzz_violated(const char *file, int line, const char *property);

/* An input that is taken from the front. Where it has ended, it has zeros. */
struct fuzz_input {
	const uint8_t *at, *end;
};

/* The next 1 to 8 bytes as a number. */
uint64_t fuzz_number(struct fuzz_input *in, size_t bytes);
/* The next value of one byte, mostly below `bound` as it is; always below it. */
unsigned fuzz_choice(struct fuzz_input *in, unsigned bound);
/* A string for free(): up to the next NUL or newline, which is passed, or all that is left. */
char *fuzz_line(struct fuzz_input *in);
/* A copy for free() of memory that ends where a sanitizer sees it. */
void *fuzz_copy(const void *bytes, size_t size);

#endif

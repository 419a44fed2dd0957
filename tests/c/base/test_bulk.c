/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"

#define KIB 1024ul
#define GUARD 128
#define MOST (300 * KIB + 200)

/* Below and above what is written past the caches, with every kind of beginning and end. */
static void it_copies_like_memcpy(void **state)
{
	static const size_t sizes[] = {0, 1, 63, 4096, 256 * KIB - 1, 256 * KIB, 256 * KIB + 65, MOST};
	static const size_t shifts[] = {0, 1, 16, 31, 32, 63};
	uint8_t *src = malloc(MOST + GUARD), *dst = malloc(MOST + 3 * GUARD);

	(void)state;
	for (size_t i = 0; i < MOST + GUARD; i++)
		src[i] = (uint8_t)(i * 2654435761u >> 24);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		for (size_t d = 0; d < sizeof(shifts) / sizeof(*shifts); d++) {
			uint8_t *to = dst + GUARD + shifts[d];
			const uint8_t *from = src + shifts[(d + 2) % 6];

			memset(dst, 0xA5, MOST + 3 * GUARD);
			fst3fs_bulk_copy(to, from, sizes[s]);
			assert_memory_equal(to, from, sizes[s]);
			for (size_t i = 0; i < GUARD; i++) {
				assert_int_equal(to[-1 - (long)i], 0xA5);
				assert_int_equal(to[sizes[s] + i], 0xA5);
			}
		}
	}
	free(src);
	free(dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(it_copies_like_memcpy)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "piece.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static void layout_fits_any_buffer(void **state)
{
	static const uint64_t buffers[] = {1,	     4095,	4096,	    4097,	    8192,
					   100000,   MIB,	8 * MIB,    9 * MIB + 5,    16 * MIB,
					   64 * MIB, 100 * MIB, 1024 * MIB, 64 * 1024 * MIB};
	static const uint32_t entries[] = {1, 2, 3, 31, 32, 33, 64, 1000000, UINT32_MAX};

	(void)state;
	for (size_t b = 0; b < sizeof(buffers) / sizeof(buffers[0]); b++) {
		for (size_t e = 0; e < sizeof(entries) / sizeof(entries[0]); e++) {
			struct fst3fs_layout l = fst3fs_layout_choose(buffers[b], entries[e]);
			uint64_t pages = (buffers[b] + 4095) / 4096 * 4096;

			assert_true(l.piece >= 4096 && (l.piece & (l.piece - 1)) == 0);
			assert_true(l.slots >= 1 && l.piece * l.slots <= pages);
			assert_true(pages < 8192 || l.slots >= 2);
			assert_true(l.window >= 1 && l.window <= l.slots && l.window <= entries[e]);
			assert_true(l.block % l.piece == 0);
		}
	}
}

static void usual_buffers_have_many_pieces(void **state)
{
	(void)state;
	for (uint64_t buffer = 8 * MIB; buffer <= 1024 * MIB; buffer *= 2) {
		struct fst3fs_layout l = fst3fs_layout_choose(buffer, 64);

		assert_true(l.window >= 16);
		assert_true(l.piece >= 256 * KIB && l.piece <= 4 * MIB);
	}
}

static void cuts_end_where_storage_splits(void **state)
{
	static const struct {
		uint64_t offset, end, cap, blksize, expected;
	} cases[] = {
		{0, 10 * MIB, 2 * MIB, MIB, 2 * MIB},
		{5, 10 * MIB, 2 * MIB, MIB, 2 * MIB - 5},	/* the first ends at a multiple ... */
		{2 * MIB, 10 * MIB, 2 * MIB, MIB, 2 * MIB},	/* ... and the others begin there */
		{MIB + 1, 10 * MIB, 3 * MIB / 2, MIB, MIB - 1}, /* cap no multiple of the block */
		{0, 10 * MIB, 512 * KIB, MIB, 512 * KIB},	/* cap smaller than a block */
		{700 * KIB, 10 * MIB, 512 * KIB, MIB, 324 * KIB},
		{0, 100, 2 * MIB, MIB, 100}, /* the end of the range */
		{MIB - 1, MIB + 1, 2 * MIB, MIB, 2},
		{MIB - 1, MIB + 1, 4096, MIB, 1},
		{0, 10, 1, MIB, 1},
		{7, 1000, 64, 1, 64},
		{INT64_MAX - 10, INT64_MAX, 4096, MIB, 10},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(fst3fs_piece_cut(cases[i].offset, cases[i].end, cases[i].cap, cases[i].blksize),
				 cases[i].expected);
}

static void cuts_cover_any_range(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 2000; round++) {
		uint64_t at = (uint64_t)rand() % (5 * MIB), end = at + (uint64_t)rand() % (5 * MIB);
		uint64_t cap = 1 + (uint64_t)rand() % (2 * MIB), blksize = 1ull << (rand() % 21);
		uint64_t first = at;

		/* Few enough cuts for a test: tiny ones are in the table above. */
		cap = cap < 20000 ? 20000 : cap;
		blksize = blksize < 4096 ? 4096 : blksize;
		while (at < end) {
			uint64_t n = fst3fs_piece_cut(at, end, cap, blksize);

			assert_true(n >= 1 && n <= cap && n <= end - at);
			if (at + n < end && cap >= blksize)
				assert_true((at + n) % blksize == 0);
			if (at != first && cap >= blksize)
				assert_true(at % blksize == 0);
			at += n;
		}
		assert_int_equal(at, end > first ? end : first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_fits_any_buffer),
		cmocka_unit_test(usual_buffers_have_many_pieces),
		cmocka_unit_test(cuts_end_where_storage_splits),
		cmocka_unit_test(cuts_cover_any_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "key.h"

static const uint8_t id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
			       0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

#define ID "00112233-4455-6677-8899-aabbccddeeff"

static void buffers(void **state)
{
	char key[USRBIO_KEY_SIZE];

	(void)state;
	usrbio_key_buffer(key, id, 0);
	assert_string_equal(key, ID);
	usrbio_key_buffer(key, id, 1048576);
	assert_string_equal(key, ID ".b1048576");
	usrbio_key_buffer(key, id, SIZE_MAX);
	assert_string_equal(key, ID ".b18446744073709551615");
}

static void rings(void **state)
{
	static const struct {
		struct usrbio_ring_attr attr;
		const char *tail;
	} cases[] = {
		{{.for_read = true, .io_depth = 1}, ".r1.t0"},
		{{.for_read = false, .io_depth = 0}, ".w0.t0"},
		{{.for_read = true, .io_depth = -8, .timeout_ms = 20}, ".r-8.t20"},
		{{.for_read = true, .priority = -5}, ".r0.ph.t0"},
		{{.for_read = true, .priority = 1}, ".r0.pl.t0"},
		{{.for_read = true, .flags = 1}, ".r0.t0.f1"},
		{{.for_read = true, .flags = 2}, ".r0.t0.f10"},
		{{.for_read = true, .flags = 3, .priority = 1}, ".r0.pl.t0.f11"},
		{{.for_read = false, .io_depth = INT_MIN, .priority = 1, .timeout_ms = INT_MIN, .flags = UINT64_MAX},
		 ".w-2147483648.pl.t-2147483648.f1111111111111111111111111111111111111111111111111111111111111111"},
	};
	char key[USRBIO_KEY_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		usrbio_key_ring(key, id, &cases[i].attr);
		assert_memory_equal(key, ID, strlen(ID));
		assert_string_equal(key + strlen(ID), cases[i].tail);
	}
}

static void ids_are_read_back(void **state)
{
	static const char *const bad[] = {
		"",
		"00112233",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeefg",
		"00112233-4455-6677-8899-AABBCCDDEEFF",
		"001122334-455-6677-8899-aabbccddeeff",
		"00112233445566778899aabbccddeeff",
	};
	uint8_t back[16] = {0};

	(void)state;
	assert_true(usrbio_uuid_parse(ID, back));
	assert_memory_equal(back, id, 16);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(usrbio_uuid_parse(bad[i], back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers),
		cmocka_unit_test(rings),
		cmocka_unit_test(ids_are_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

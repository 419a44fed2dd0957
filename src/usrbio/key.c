/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <stdio.h>
#include <string.h>

static bool dash_before(int byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void usrbio_uuid_print(const uint8_t id[16], char out[USRBIO_UUID_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++) {
		if (dash_before(i))
			*out++ = '-';
		*out++ = digits[id[i] >> 4];
		*out++ = digits[id[i] & 15];
	}
	*out = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool usrbio_uuid_parse(const char *s, uint8_t id[16])
{
	for (int i = 0; i < 16; i++) {
		int hi, lo;

		if (dash_before(i) && *s++ != '-')
			return false;
		hi = hex_digit(s[0]);
		lo = hi < 0 ? -1 : hex_digit(s[1]);
		if (lo < 0)
			return false;
		id[i] = (uint8_t)(hi << 4 | lo);
		s += 2;
	}
	return true;
}

void usrbio_key_buffer(char out[USRBIO_KEY_SIZE], const uint8_t id[16], size_t block_size)
{
	usrbio_uuid_print(id, out);
	if (block_size)
		snprintf(out + strlen(out), USRBIO_KEY_SIZE - strlen(out), ".b%zu", block_size);
}

/* The daemon reads flags as binary digits. */
static void print_flags(char *out, uint64_t bits)
{
	int top = 63 - __builtin_clzll(bits);

	*out++ = '.';
	*out++ = 'f';
	for (int i = top; i >= 0; i--)
		*out++ = (bits >> i & 1) ? '1' : '0';
	*out = '\0';
}

void usrbio_key_ring(char out[USRBIO_KEY_SIZE], const uint8_t id[16], const struct usrbio_ring_attr *attr)
{
	const char *priority = attr->priority < 0 ? ".ph" : attr->priority > 0 ? ".pl" : "";
	char uuid[USRBIO_UUID_SIZE], flags[3 + 64] = "";

	usrbio_uuid_print(id, uuid);
	if (attr->flags)
		print_flags(flags, attr->flags);
	/* Always with a time-out: the daemon expects at least one attribute of every ring. */
	snprintf(out, USRBIO_KEY_SIZE, "%s.%c%d%s.t%d%s", uuid, attr->for_read ? 'r' : 'w', attr->io_depth, priority,
		 attr->timeout_ms, flags);
}

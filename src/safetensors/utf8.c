/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#include <string.h>

/* Bytes of the UTF-8 sequence at `s`, 0 when it is not one (overlong forms, surrogates and beyond U+10FFFF are not). */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
	static const struct {
		uint8_t first_low, first_high, second_low, second_high, bytes;
	} forms[] = {
		{0x01, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	size_t i = 0, bytes;

	while (i < sizeof(forms) / sizeof(forms[0]) && (s[0] < forms[i].first_low || s[0] > forms[i].first_high))
		i++;
	if (i == sizeof(forms) / sizeof(forms[0]) || forms[i].bytes > left)
		return 0;
	bytes = forms[i].bytes;
	if (bytes > 1 && (s[1] < forms[i].second_low || s[1] > forms[i].second_high))
		return 0;
	for (size_t k = 2; k < bytes; k++)
		if ((s[k] & 0xc0) != 0x80)
			return 0;
	return bytes;
}

/* Headers are all but always ASCII: eight bytes at a time as long as none has its top bit set and none is NUL. */
static size_t skip_ascii(const uint8_t *s, size_t bytes)
{
	const uint64_t tops = 0x8080808080808080u, ones = 0x0101010101010101u;
	size_t at = 0;

	for (uint64_t word; at + sizeof(word) <= bytes; at += sizeof(word)) {
		memcpy(&word, s + at, sizeof(word));
		if ((word | (word - ones)) & tops)
			break;
	}
	return at;
}

size_t st_utf8_valid(const char *s, size_t bytes)
{
	const uint8_t *u = (const uint8_t *)s;
	size_t at = 0;

	while (at < bytes) {
		size_t n;

		at += skip_ascii(u + at, bytes - at);
		if (at == bytes)
			break;
		n = utf8_sequence(u + at, bytes - at);
		if (n == 0)
			break;
		at += n;
	}
	return at;
}

size_t st_utf8_put(char *out, uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

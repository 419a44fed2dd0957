/* SPDX-License-Identifier: Apache-2.0 */
#include "json_string.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "utf8.h"

/* The top bits of the bytes of `word` that are less than `n`, up to 0x80; above the lowest of them, of others as well.
 */
static inline uint64_t below(uint64_t word, uint64_t n)
{
	const uint64_t ones = 0x0101010101010101u;

	return (word - ones * n) & ~word & ones * 0x80;
}

/* Where a run of bytes ends that stand for themselves: at a quotation mark, a backslash, a control character. Eight at
 * a time as long as there are eight. */
static const char *plain_end(const char *p, const char *end)
{
	const uint64_t twos = 0x0202020202020202u, backslashes = 0x5c5c5c5c5c5c5c5cu;

	for (uint64_t word; end - p >= (ptrdiff_t)sizeof(word); p += sizeof(word)) {
		uint64_t special;

		memcpy(&word, p, sizeof(word));
		word = le64toh(word);
		/* 2 flipped makes 0x20 of '"', next to the control characters, and more of ' ' and '!' in between. */
		special = below(word ^ twos, 0x21) | below(word ^ backslashes, 1);
		if (special)
			return p + __builtin_ctzll(special) / 8;
	}
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
		p++;
	return p;
}

/* The quotation mark that ends the string of which `p` is inside, in `close`. */
static int find_close(struct st_json *r, const char *p, const char **close)
{
	for (p = plain_end(p, r->end); p < r->end && *p != '"'; p = plain_end(p, r->end)) {
		if (*p != '\\')
			return st_json_fault(r, SAFETENSORS_JSON_CONTROL, st_json_byte(r, p),
					     "control character 0x%02x in a string", (unsigned)*p);
		p += r->end - p > 1 ? 2 : 1;
	}
	*close = p;
	if (p < r->end)
		return 0;
	return st_json_fault(r, SAFETENSORS_JSON_CUT_SHORT, st_json_byte(r, p), "the JSON ends inside a string");
}

/* The number that the four hexadecimal digits at `p` are, or -1. */
static int32_t hex4(const char *p, const char *end)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	int32_t value = 0;

	for (int i = 0; i < 4; i++) {
		const char *digit = p + i < end ? memchr(digits, p[i], sizeof(digits) - 1) : NULL;

		if (!digit)
			return -1;
		value = value * 16 + (int32_t)(digit - digits - (digit - digits > 15 ? 6 : 0));
	}
	return value;
}

static int bad_escape(struct st_json *r, const char *p)
{
	return st_json_fault(r, SAFETENSORS_JSON_ESCAPE, st_json_byte(r, p), "not an escape of JSON's");
}

/* Writes the character of the \u escape at `*p`, or of the pair of them, and passes it. Bytes written, or -EINVAL. */
static int unicode_escape(struct st_json *r, const char **p, const char *close, char *out)
{
	const char *escape = *p;
	int32_t code = hex4(escape + 2, close), low;

	if (code < 0)
		return bad_escape(r, escape);
	*p += 6;
	if (code < 0xd800 || code > 0xdfff)
		return (int)st_utf8_put(out, (uint32_t)code);
	low = close - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, close) : -1;
	if (code > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return st_json_fault(r, SAFETENSORS_JSON_SURROGATE, st_json_byte(r, escape),
				     "half of a surrogate pair");
	*p += 6;
	return (int)st_utf8_put(out, 0x10000u + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

/* The same for any escape. */
static int escape(struct st_json *r, const char **p, const char *close, char *out)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *letter;

	if ((*p)[1] == 'u')
		return unicode_escape(r, p, close, out);
	letter = memchr(letters, (*p)[1], sizeof(letters) - 1);
	if (!letter)
		return bad_escape(r, *p);
	*out = meanings[letter - letters];
	*p += 2;
	return 1;
}

/* Unescapes [p, close) into the arena: it never becomes longer. */
static int unescape(struct st_json *r, const char *p, const char *close, struct st_text *out)
{
	char *to = st_arena_alloc(r->arena, (size_t)(close - p));

	if (!to)
		return st_json_no_memory(r);
	out->s = to;
	while (p < close) {
		const char *plain = plain_end(p, close);
		int n;

		memcpy(to, p, (size_t)(plain - p));
		to += plain - p;
		p = plain;
		n = p < close ? escape(r, &p, close, to) : 0;
		if (n < 0)
			return n;
		to += n;
	}
	out->bytes = (size_t)(to - out->s);
	return 0;
}

int st_json_read_string(struct st_json *r, struct st_text *out)
{
	const char *begin = r->at + 1, *close = plain_end(begin, r->end);
	int rc = 0;

	out->position = st_json_byte(r, r->at);
	if (close < r->end && *close == '"') {
		out->s = begin;
		out->bytes = (size_t)(close - begin);
	} else {
		rc = find_close(r, close, &close);
		if (rc == 0)
			rc = unescape(r, begin, close, out);
	}
	if (rc == 0)
		r->at = close + 1;
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <string.h>

#include "fault.h"
#include "json_string.h"

/* ------------------------------------------------------------------ errors */

static uint64_t here(const struct st_json *r)
{
	return st_json_byte(r, r->at);
}

static inline unsigned to_digit(char c)
{
	return (unsigned)c - '0';
}

static bool is_digit(const struct st_json *r)
{
	return r->at < r->end && to_digit(*r->at) < 10;
}

/* What comes next is nothing that the grammar allows there. `wanted` is a clause: "':' must follow". */
static int unexpected(struct st_json *r, const char *wanted)
{
	struct st_quoted found;
	size_t bytes = 1;

	if (r->at == r->end)
		return st_json_fault(r, SAFETENSORS_JSON_CUT_SHORT, here(r), "%s, but the JSON ends", wanted);
	while (r->at + bytes < r->end && ((unsigned char)r->at[bytes] & 0xc0) == 0x80)
		bytes++;
	return st_json_fault(r, SAFETENSORS_JSON_SYNTAX, here(r), "%s, not %s", wanted, st_quote(&found, r->at, bytes));
}

static const char *const words[] = {"true", "false", "null"};

/* Which of the words comes next, or NULL. */
static const char *word_here(const struct st_json *r)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if ((size_t)(r->end - r->at) >= strlen(words[i]) && memcmp(r->at, words[i], strlen(words[i])) == 0)
			return words[i];
	return NULL;
}

/* What kind of value comes next, by its first byte; NULL: none. */
static const char *kind_here(const struct st_json *r)
{
	switch (r->at < r->end ? *r->at : '\0') {
	case '{':
		return "an object";
	case '[':
		return "an array";
	case '"':
		return "a string";
	case '-':
		return "a number";
	default:
		return is_digit(r) ? "a number" : word_here(r);
	}
}

/* Not the value that is wanted: another kind of value breaks `rule`, what is none breaks JSON's. */
static int wrong_type(struct st_json *r, enum safetensors_rule rule, const char *wanted)
{
	const char *kind = kind_here(r);

	return kind ? st_json_fault(r, rule, here(r), "%s, not %s", wanted, kind) : unexpected(r, wanted);
}

/* ------------------------------------------------------------------ structure */

static char skip_space(struct st_json *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
		r->at++;
	return r->at < r->end ? *r->at : '\0';
}

/* The byte that comes next, white space skipped; NUL at the end: JSON that is UTF-8 without NULs has none. */
static inline char peek(struct st_json *r)
{
	return r->at < r->end && (unsigned char)*r->at > ' ' ? *r->at : skip_space(r);
}

uint64_t st_json_position(struct st_json *r)
{
	peek(r);
	return here(r);
}

int st_json_enter(struct st_json *r, char bracket, enum safetensors_rule rule, const char *wanted)
{
	if (peek(r) != bracket)
		return wrong_type(r, rule, wanted);
	if (r->depth == ST_JSON_DEPTH)
		return st_json_fault(r, SAFETENSORS_JSON_DEPTH, here(r),
				     "more than %d objects and arrays in each other", ST_JSON_DEPTH);
	r->depth++;
	r->first = true;
	r->at++;
	return 0;
}

int st_json_more(struct st_json *r, char bracket)
{
	const bool first = r->first;
	const char next = peek(r);

	r->first = false;
	if (next == bracket) {
		r->at++;
		r->depth--;
		return 0;
	}
	if (first)
		return 1;
	if (next != ',')
		return unexpected(r, bracket == '}' ? "',' or '}' must follow" : "',' or ']' must follow");
	r->at++;
	return 1;
}

int st_json_key(struct st_json *r, struct st_text *key)
{
	int rc;

	if (peek(r) != '"')
		return unexpected(r, "a key in quotation marks must follow");
	rc = st_json_read_string(r, key);
	if (rc < 0)
		return rc;
	if (peek(r) != ':')
		return unexpected(r, "':' must follow");
	r->at++;
	return 0;
}

bool st_json_pass_key(struct st_json *r, const char *literal, size_t bytes)
{
	peek(r);
	if ((size_t)(r->end - r->at) < bytes || memcmp(r->at, literal, bytes) != 0)
		return false;
	r->at += bytes;
	return true;
}

int st_json_finish(struct st_json *r)
{
	if (peek(r) == '\0')
		return 0;
	return st_json_fault(r, SAFETENSORS_JSON_TRAILING, here(r), "only white space may follow the JSON object");
}

/* ------------------------------------------------------------------ values */

int st_json_string(struct st_json *r, enum safetensors_rule rule, const char *wanted, struct st_text *out)
{
	return peek(r) == '"' ? st_json_read_string(r, out) : wrong_type(r, rule, wanted);
}

/* One or more digits. */
static int digits(struct st_json *r)
{
	if (!is_digit(r))
		return st_json_fault(r, SAFETENSORS_JSON_NUMBER, here(r), "a digit is missing in a number");
	while (is_digit(r))
		r->at++;
	return 0;
}

/* A number of JSON's grammar. */
static int skip_number(struct st_json *r)
{
	int rc;

	if (*r->at == '-')
		r->at++;
	if (r->at + 1 < r->end && r->at[0] == '0' && r->at[1] >= '0' && r->at[1] <= '9')
		return st_json_fault(r, SAFETENSORS_JSON_NUMBER, here(r), "a number begins with 0");
	rc = digits(r);
	if (rc == 0 && r->at < r->end && *r->at == '.') {
		r->at++;
		rc = digits(r);
	}
	if (rc == 0 && r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
		r->at++;
		if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
			r->at++;
		rc = digits(r);
	}
	return rc;
}

/* Passes digits; are they an integer that 64 bits hold, and no more than that? */
static bool read_plain(struct st_json *r, uint64_t *out)
{
	const char *p = r->at, *end = r->end, *surely = end - p > 19 ? p + 19 : end; /* so many digits always fit */
	const bool zero_first = p < end && *p == '0';
	bool over = false;
	uint64_t value = 0;

	for (; p < surely && to_digit(*p) < 10; p++)
		value = value * 10 + to_digit(*p);
	for (; p < end && to_digit(*p) < 10; p++) {
		over |= __builtin_mul_overflow(value, 10u, &value);
		over |= __builtin_add_overflow(value, to_digit(*p), &value);
	}
	if (over || p == r->at || (zero_first && p - r->at > 1) || (p < end && (*p == '.' || *p == 'e' || *p == 'E')))
		return false;
	r->at = p;
	*out = value;
	return true;
}

/* Says what is wrong with what should be such an integer. Apart, because numbers are read often and this seldom. */
static int not_u64(struct st_json *r, enum safetensors_rule rule, const char *wanted)
{
	const char *begin = r->at;
	int rc;

	if (begin == r->end || (*begin != '-' && !is_digit(r)))
		return wrong_type(r, rule, wanted);
	rc = skip_number(r);
	if (rc < 0)
		return rc;
	return st_json_fault(r, rule, st_json_byte(r, begin), "%s, not %.*s", wanted,
			     (int)(r->at - begin < 40 ? r->at - begin : 40), begin);
}

int st_json_u64(struct st_json *r, enum safetensors_rule rule, const char *wanted, uint64_t *out)
{
	peek(r);
	return read_plain(r, out) ? 0 : not_u64(r, rule, wanted);
}

bool st_json_null(struct st_json *r)
{
	if (peek(r) != 'n' || word_here(r) == NULL)
		return false;
	r->at += strlen("null");
	return true;
}

static int skip_object(struct st_json *r)
{
	struct st_text key;
	int rc = st_json_enter(r, '{', SAFETENSORS_JSON_SYNTAX, "an object must follow");

	while (rc == 0 && (rc = st_json_more(r, '}')) == 1) {
		rc = st_json_key(r, &key);
		if (rc == 0)
			rc = st_json_skip(r);
	}
	return rc;
}

static int skip_array(struct st_json *r)
{
	int rc = st_json_enter(r, '[', SAFETENSORS_JSON_SYNTAX, "an array must follow");

	while (rc == 0 && (rc = st_json_more(r, ']')) == 1)
		rc = st_json_skip(r);
	return rc;
}

/* A number or a word. */
static int skip_scalar(struct st_json *r)
{
	const char *word = word_here(r);

	if (*r->at == '-' || is_digit(r))
		return skip_number(r);
	if (!word)
		return unexpected(r, "a value must follow");
	r->at += strlen(word);
	return 0;
}

int st_json_skip(struct st_json *r)
{
	struct st_text text;

	switch (peek(r)) {
	case '{':
		return skip_object(r);
	case '[':
		return skip_array(r);
	case '"':
		return st_json_read_string(r, &text);
	case '\0':
		return unexpected(r, "a value must follow");
	default:
		return skip_scalar(r);
	}
}

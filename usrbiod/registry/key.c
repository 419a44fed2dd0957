/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
	UUID_CHARS = 36,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int parse_uuid(const char *s, uint8_t id[16])
{
	int nibble = 0;

	for (int i = 0; i < UUID_CHARS; i++) {
		int digit = hex_digit(s[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s[i] != '-')
				return -EINVAL;
			continue;
		}
		if (digit < 0)
			return -EINVAL;
		id[nibble / 2] = (uint8_t)(nibble % 2 ? id[nibble / 2] | digit : digit << 4);
		nibble++;
	}
	return 0;
}

/* All of `s` as a number in the base; no sign other than `-`, and that only where `min` allows it. */
static int parse_number(const char *s, int base, long long min, long long max, long long *out)
{
	char *end;

	if (!isalnum((unsigned char)s[0]) && !(s[0] == '-' && isalnum((unsigned char)s[1])))
		return -EINVAL;
	errno = 0;
	*out = strtoll(s, &end, base);
	if (errno || *end || *out < min || *out > max)
		return -EINVAL;
	return 0;
}

static int parse_block(const char *s, struct key *key)
{
	long long n;
	int rc = parse_number(s, 10, 1, LLONG_MAX, &n);

	if (rc == 0)
		key->block_size = (uint64_t)n;
	return rc;
}

static int parse_depth(const char *s, struct key *key)
{
	long long n;
	int rc = parse_number(s, 10, INT_MIN, INT_MAX, &n);

	if (rc == 0) {
		key->is_ring = true;
		key->io_depth = (int)n;
	}
	return rc;
}

static int parse_priority(const char *s, struct key *key)
{
	if (strcmp(s, "h") == 0)
		key->priority = PRIORITY_HIGH;
	else if (strcmp(s, "l") == 0)
		key->priority = PRIORITY_LOW;
	else if (strcmp(s, "n") && *s)
		return -EINVAL;
	key->has_ring_attr = true;
	return 0;
}

static int parse_timeout(const char *s, struct key *key)
{
	long long n;
	int rc = parse_number(s, 10, 0, INT_MAX, &n);

	if (rc == 0) {
		key->has_ring_attr = true;
		key->timeout_ms = (int)n;
	}
	return rc;
}

static int parse_flags(const char *s, struct key *key)
{
	long long n;
	int rc = parse_number(s, 2, 0, LLONG_MAX, &n);

	if (rc == 0) {
		key->has_ring_attr = true;
		key->flags = (uint64_t)n;
	}
	return rc;
}

static int parse_part(const char *part, struct key *key)
{
	switch (part[0]) {
	case 'b':
		return parse_block(part + 1, key);
	case 'w':
		key->for_write = true;
		return parse_depth(part + 1, key);
	case 'r':
		return parse_depth(part + 1, key);
	case 'p':
		return parse_priority(part + 1, key);
	case 't':
		return parse_timeout(part + 1, key);
	case 'f':
		return parse_flags(part + 1, key);
	default:
		return -EINVAL;
	}
}

/* `.r` and `.w` are the same part. */
static unsigned part_bit(char c)
{
	return 1u << ((c == 'w' ? 'r' : c) & 31);
}

int key_parse(const char *name, bool strict, struct key *out)
{
	char copy[256], *rest, *part;
	struct key key = {.priority = PRIORITY_NORMAL};
	unsigned seen = 0;

	if (strlen(name) < UUID_CHARS || strlen(name) >= sizeof(copy) || parse_uuid(name, key.id))
		return -EINVAL;
	strcpy(copy, name);
	rest = copy + UUID_CHARS;
	if (*rest && *rest != '.')
		return -EINVAL;
	if (*rest)
		rest++;
	else
		rest = NULL;
	while ((part = strsep(&rest, "."))) {
		if (seen & part_bit(part[0]) || parse_part(part, &key))
			return -EINVAL;
		seen |= part_bit(part[0]);
	}
	if (key.has_ring_attr && !key.is_ring)
		return -EINVAL;
	if (strict && key.io_depth < 0)
		return -EINVAL;
	*out = key;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader that pulls JSON out of bytes, piece by piece, and knows where in the file each piece stands.
 *
 * The caller knows what must come next and asks for it; nothing is built but what the caller keeps. The bytes must
 * have been checked to be UTF-8. A function that fails has recorded why, and the reader is of no more use.
 *
 *     rc = st_json_enter(r, '{', rule, "it must be an object");
 *     while (rc == 0 && (rc = st_json_more(r, '}')) == 1)
 *             rc = st_json_key(r, &key) ... and then the key's value, all of it
 */
#ifndef FST3FS_SAFETENSORS_JSON_H
#define FST3FS_SAFETENSORS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "rules.h"

/* Objects and arrays inside each other, the outermost counted: what safetensors reads. */
#define ST_JSON_DEPTH 127

/* An unescaped string, not NUL-terminated: in the JSON itself or, where it had escapes, in the reader's arena. */
struct st_text {
	const char *s;
	size_t bytes;
	uint64_t position; /* of its opening quote in the file */
};

struct st_json {
	const char *begin, *at, *end;
	uint64_t base;		/* byte of the file at which `begin` stands */
	const char *document;	/* what errors call it: "header" */
	struct st_text subject; /* the tensor that errors are about; no `s`: the document */
	unsigned depth;
	bool first; /* nothing has been read yet of the object or array that was entered last */
	struct st_arena *arena;
	struct fst3fs_error *err;
};

/* Inline, so that the length of a literal is known. */
static inline bool st_text_is(const struct st_text *text, const char *s)
{
	return strlen(s) == text->bytes && memcmp(text->s, s, text->bytes) == 0;
}

/* Byte of the file at which `p`, inside the JSON or at its end, stands. */
uint64_t st_json_byte(const struct st_json *r, const char *p);

/* The same of what comes next, white space skipped. */
uint64_t st_json_position(struct st_json *r);

/* Into the object or array that must come next, `bracket` says which. Another value breaks `rule`; `wanted` is a clause
 * for the error, here and below: "\"shape\" must be an array". 0 or -EINVAL. */
int st_json_enter(struct st_json *r, char bracket, enum safetensors_rule rule, const char *wanted);

/* 1: there is another member or element before `bracket`, the closing one; 0: that is passed; or -EINVAL. */
int st_json_more(struct st_json *r, char bracket);

/* The key of a member, colon included. 0, -EINVAL, -ENOMEM. */
int st_json_key(struct st_json *r, struct st_text *key);

/* Passes a key and its colon if they come next and are written as `literal` is, `bytes` bytes of it: "\"key\":". It is
 * what st_json_key would find, in a fraction of the time; false says nothing. */
bool st_json_pass_key(struct st_json *r, const char *literal, size_t bytes);

/* A string; another value breaks `rule`. 0, -EINVAL, -ENOMEM. */
int st_json_string(struct st_json *r, enum safetensors_rule rule, const char *wanted, struct st_text *out);

/* An integer from 0 to 2^64 - 1, without fraction or exponent; another value breaks `rule`. 0 or -EINVAL. */
int st_json_u64(struct st_json *r, enum safetensors_rule rule, const char *wanted, uint64_t *out);

/* Passes null, if that comes next. */
bool st_json_null(struct st_json *r);

/* Any value, passed over but checked. 0, -EINVAL, -ENOMEM. */
int st_json_skip(struct st_json *r);

/* Nothing but white space may be left. 0 or -EINVAL. */
int st_json_finish(struct st_json *r);

/* Records that `rule` is broken at a byte of the file, by the reader's subject. Returns -EINVAL. */
int st_json_fault(struct st_json *r, enum safetensors_rule rule, uint64_t position, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Records that memory ran out. Returns -ENOMEM. */
int st_json_no_memory(struct st_json *r);

#endif

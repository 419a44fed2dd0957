/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "fault.h"
#include "table_i.h"

/* A tensor while its object is being read. */
struct reading {
	struct st_dims *dims;
	struct st_entry *out;
	uint64_t shape_position;
};

/* ------------------------------------------------------------------ the members that count */

static int read_dtype(struct st_json *r, struct reading *t)
{
	struct st_quoted name;
	struct st_text text;
	int rc = st_json_string(r, SAFETENSORS_DTYPE_TYPE, "\"dtype\" must be a string", &text);

	if (rc < 0 || safetensors_dtype_from_name(text.s, text.bytes, &t->out->tensor.dtype))
		return rc;
	return st_json_fault(r, SAFETENSORS_DTYPE_UNKNOWN, text.position,
			     "\"dtype\" is %s, which the format does not have", st_quote(&name, text.s, text.bytes));
}

static int read_dims(struct st_json *r, struct st_dims *dims)
{
	static const char wanted[] = "\"shape\" must be an array of integers from 0 to 2^64 - 1";
	int rc = st_json_enter(r, '[', SAFETENSORS_SHAPE_TYPE, wanted);

	dims->count = 0;
	while (rc == 0 && (rc = st_json_more(r, ']')) == 1) {
		uint64_t *items = st_array_grow(dims->items, dims->count, &dims->room, sizeof(*items));

		if (!items)
			return st_json_no_memory(r);
		dims->items = items;
		rc = st_json_u64(r, SAFETENSORS_SHAPE_TYPE, wanted, &items[dims->count++]);
	}
	return rc;
}

static int read_shape(struct st_json *r, struct reading *t)
{
	struct safetensors_tensor *tensor = &t->out->tensor;
	uint64_t *shape;
	int rc;

	t->shape_position = st_json_position(r);
	rc = read_dims(r, t->dims);
	if (rc < 0)
		return rc;
	shape = st_arena_alloc(r->arena, t->dims->count * sizeof(*shape));
	if (!shape)
		return st_json_no_memory(r);
	if (t->dims->count)
		memcpy(shape, t->dims->items, t->dims->count * sizeof(*shape));
	tensor->shape = shape;
	tensor->rank = (uint32_t)t->dims->count; /* a header has not room for more */
	return 0;
}

static int read_offsets(struct st_json *r, struct reading *t)
{
	static const char wanted[] = "\"data_offsets\" must be an array of two integers from 0 to 2^64 - 1";
	uint64_t offsets[2] = {0}, position = st_json_position(r);
	size_t count = 0;
	int rc = st_json_enter(r, '[', SAFETENSORS_OFFSETS_TYPE, wanted);

	while (rc == 0 && (rc = st_json_more(r, ']')) == 1) {
		if (count == 2)
			return st_json_fault(r, SAFETENSORS_OFFSETS_TYPE, position, "%s, not of more", wanted);
		rc = st_json_u64(r, SAFETENSORS_OFFSETS_TYPE, wanted, &offsets[count++]);
	}
	if (rc == 0 && count < 2)
		return st_json_fault(r, SAFETENSORS_OFFSETS_TYPE, position, "%s, not of %zu", wanted, count);
	t->out->tensor.begin = offsets[0];
	t->out->tensor.end = offsets[1];
	t->out->offsets_position = position;
	return rc;
}

/* In the order in which writers write them. */
static const struct {
	const char *literal; /* the key as they write it, with its colon */
	size_t bytes;	     /* of the key alone, which begins behind the quotation mark */
	int (*read)(struct st_json *r, struct reading *t);
} members[] = {
	{"\"dtype\":", sizeof("dtype") - 1, read_dtype},
	{"\"shape\":", sizeof("shape") - 1, read_shape},
	{"\"data_offsets\":", sizeof("data_offsets") - 1, read_offsets},
};

enum { MEMBERS = sizeof(members) / sizeof(members[0]) };

/* ------------------------------------------------------------------ the object */

/* Which member a key is; MEMBERS: none that counts. */
static int find_member(const struct st_text *key)
{
	int i = 0;

	while (i < MEMBERS &&
	       (key->bytes != members[i].bytes || memcmp(key->s, members[i].literal + 1, key->bytes) != 0))
		i++;
	return i;
}

/* One member; `seen` has a bit for each that has been read. What else there is, is left to later versions of the
 * format. */
static int read_member(struct st_json *r, struct reading *t, unsigned *seen)
{
	struct st_text key;
	int i = 0, rc;

	while (i < MEMBERS && *seen & 1u << i)
		i++;
	if (i == MEMBERS || !st_json_pass_key(r, members[i].literal, members[i].bytes + 3)) {
		rc = st_json_key(r, &key);
		if (rc < 0)
			return rc;
		i = find_member(&key);
		if (i == MEMBERS)
			return st_json_skip(r);
		if (*seen & 1u << i)
			return st_json_fault(r, SAFETENSORS_KEY_TWICE, key.position, "\"%.*s\" is there twice",
					     (int)members[i].bytes, members[i].literal + 1);
	}
	*seen |= 1u << i;
	return members[i].read(r, t);
}

static int read_object(struct st_json *r, struct reading *t)
{
	uint64_t position = st_json_position(r);
	unsigned seen = 0;
	int rc = st_json_enter(r, '{', SAFETENSORS_TENSOR_TYPE, "it must be described by an object");

	while (rc == 0 && (rc = st_json_more(r, '}')) == 1)
		rc = read_member(r, t, &seen);
	for (int i = 0; rc == 0 && i < MEMBERS; i++)
		if (!(seen & 1u << i))
			return st_json_fault(r, SAFETENSORS_KEY_MISSING, position, "\"%.*s\" is missing",
					     (int)members[i].bytes, members[i].literal + 1);
	return rc;
}

/* Multiplied in this order, outermost first, as safetensors does it: what overflows there overflows here. */
static int count_elements(struct st_json *r, const struct reading *t, uint64_t *elements, uint64_t *bits)
{
	const struct safetensors_tensor *tensor = &t->out->tensor;

	*elements = 1;
	for (uint32_t i = 0; i < tensor->rank; i++)
		if (__builtin_mul_overflow(*elements, tensor->shape[i], elements))
			return st_json_fault(r, SAFETENSORS_SHAPE_OVERFLOW, t->shape_position,
					     "the product of \"shape\" is beyond 2^64 - 1");
	if (__builtin_mul_overflow(*elements, (uint64_t)safetensors_dtype_bits(tensor->dtype), bits))
		return st_json_fault(r, SAFETENSORS_SHAPE_OVERFLOW, t->shape_position,
				     "%" PRIu64 " elements of %s have more than 2^64 - 1 bits", *elements,
				     safetensors_dtype_name(tensor->dtype));
	return 0;
}

static int check_size(struct st_json *r, const struct reading *t)
{
	const struct safetensors_tensor *tensor = &t->out->tensor;
	const char *dtype = safetensors_dtype_name(tensor->dtype);
	uint64_t elements = 0, bits = 0;
	int rc = count_elements(r, t, &elements, &bits);

	if (rc < 0)
		return rc;
	if (bits % 8)
		return st_json_fault(r, SAFETENSORS_SHAPE_SUB_BYTE, t->shape_position,
				     "%" PRIu64 " elements of %s end inside a byte", elements, dtype);
	if (tensor->begin > tensor->end)
		return st_json_fault(r, SAFETENSORS_OFFSETS_REVERSED, t->out->offsets_position,
				     "\"data_offsets\" end at %" PRIu64 ", before they begin at %" PRIu64, tensor->end,
				     tensor->begin);
	if (tensor->end - tensor->begin != bits / 8)
		return st_json_fault(r, SAFETENSORS_OFFSETS_SIZE, t->out->offsets_position,
				     "\"data_offsets\" span %" PRIu64 " bytes, but %" PRIu64
				     " elements of %s are %" PRIu64,
				     tensor->end - tensor->begin, elements, dtype, bits / 8);
	return 0;
}

int st_tensor_read(struct st_json *r, struct st_dims *dims, struct st_entry *out)
{
	struct reading t = {.dims = dims, .out = out};
	int rc = read_object(r, &t);

	return rc == 0 ? check_size(r, &t) : rc;
}

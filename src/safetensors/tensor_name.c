/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor_name.h"

#include <string.h>

int st_tensor_name_add(struct st_json *r, struct st_names *names, const struct st_text *key, const char **name)
{
	size_t number;
	int rc;

	r->subject = *key;
	if (memchr(key->s, '\0', key->bytes))
		return st_json_fault(r, SAFETENSORS_TENSOR_NAME_NUL, key->position, "a name must not hold a NUL");
	rc = st_names_add(names, r->arena, key->s, key->bytes, &number);
	if (rc < 0)
		return st_json_no_memory(r);
	if (rc == 0)
		return st_json_fault(r, SAFETENSORS_TENSOR_TWICE, key->position,
				     "a tensor of this name is there already");
	*name = names->items[number].s;
	return 0;
}

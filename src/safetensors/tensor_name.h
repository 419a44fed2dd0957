/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a tensor's name, the same in a header and in an index. */
#ifndef FST3FS_SAFETENSORS_TENSOR_NAME_H
#define FST3FS_SAFETENSORS_TENSOR_NAME_H

#include "json.h"
#include "names.h"

/* Adds the name `key` to `names`; `name` is the copy of it there. Errors are about that tensor from now on, until the
 * caller changes r->subject. 0, -EINVAL, -ENOMEM. */
int st_tensor_name_add(struct st_json *r, struct st_names *names, const struct st_text *key, const char **name);

#endif

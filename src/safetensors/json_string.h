/* SPDX-License-Identifier: Apache-2.0 */
/* The strings of JSON. */
#ifndef FST3FS_SAFETENSORS_JSON_STRING_H
#define FST3FS_SAFETENSORS_JSON_STRING_H

#include "json.h"

/* The string that begins at r->at, which is a '"'. 0, -EINVAL, -ENOMEM. */
int st_json_read_string(struct st_json *r, struct st_text *out);

#endif

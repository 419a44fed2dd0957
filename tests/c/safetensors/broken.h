/* SPDX-License-Identifier: Apache-2.0 */
/* What tests say about headers and indices: that they are fine, or which rule they break and where. */
#ifndef BROKEN_H
#define BROKEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "index.h"
#include "table.h"

/* What describes a tensor, and that with its name before it. */
#define MEMBERS(dtype, shape, offsets) "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets
#define TENSOR(name, dtype, shape, offsets) "\"" name "\":{" MEMBERS(dtype, shape, offsets) "}"

/* The table of a header with `data` bytes behind it; the test fails unless it is valid. */
struct safetensors_table *table_of(const char *json, uint64_t data);

/* It is valid. */
void fine(const char *json, uint64_t data);

/* It breaks `rule` where `at` stands in it for the first time (""; at its end), and says so; with `names`, if not NULL,
 * in the text. */
void breaks(enum safetensors_rule rule, const char *json, uint64_t data, const char *at, const char *names);

/* The same of a header that is no string. */
void bytes_break(enum safetensors_rule rule, const char *json, size_t bytes, uint64_t file_size, uint64_t offset);

struct safetensors_index *index_of(const char *json);
void index_breaks(enum safetensors_rule rule, const char *json, const char *at, const char *names);

#endif

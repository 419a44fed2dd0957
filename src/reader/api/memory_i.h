/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the library hands out. Each kind embeds this. */
#ifndef FST3FS_MEMORY_I_H
#define FST3FS_MEMORY_I_H

#include "reader_i.h"

struct fst3fs_memory {
	void *base;
	uint64_t size;
	void (*free)(struct fst3fs_memory *m);
};

/* 0, or the refusal of a size that this machine cannot have. */
int fst3fs_memory_check_size(uint64_t size, struct fst3fs_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint, as the files behind fst3fs.h see it. */
#ifndef FST3FS_CHECKPOINT_I_H
#define FST3FS_CHECKPOINT_I_H

#include "fst3fs.h"
#include "header.h"
#include "index.h"
#include "table.h"

/* A tensor, and in which file it is. */
struct fst3fs_placed {
	const struct safetensors_tensor *tensor;
	size_t file;
};

struct fst3fs_checkpoint {
	char **paths; /* of the files */
	size_t file_count;
	struct safetensors_table **tables; /* of each */
	uint64_t *inodes;		   /* of each: what was opened is what is read */
	struct fst3fs_placed *tensors;	   /* by file, then by offset */
	size_t *by_name;		   /* numbers of tensors */
	size_t count;
};

/* checkpoint_files.c: fills c->paths with the files that `paths` stand for, and gives the index that said so and where
 * it is, or NULL for both. The caller frees them; what c->paths has is the checkpoint's, also after a failure. */
int fst3fs_checkpoint_find_files(const char *const *paths, size_t n, struct fst3fs_checkpoint *c,
				 struct safetensors_index **index, char **index_path, struct fst3fs_error *err);

#endif

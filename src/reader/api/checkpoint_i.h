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

/* Which files the paths stand for. All of it is from malloc. */
struct fst3fs_found {
	char **paths;
	size_t count;
	struct safetensors_index *index; /* that said so; NULL: none did */
	char *index_path;
};

/* checkpoint_files.c: looks at what `paths` are, within the reader's time-out. Ended by fst3fs_found_fini, also after a
 * failure. */
int fst3fs_find_files(struct fst3fs_reader *r, const char *const *paths, size_t n, struct fst3fs_found *out,
		      struct fst3fs_error *err);
void fst3fs_found_fini(struct fst3fs_found *f);

/* headers.c: fst3fs_read_headers, with a table of tensors in place of each file's JSON. NULL where there is none after
 * a failure; the others are the caller's then, too. */
int fst3fs_read_tables(struct fst3fs_reader *r, const char *const *paths, size_t n, struct fst3fs_header *headers,
		       struct safetensors_table **tables, struct fst3fs_error *err);

#endif

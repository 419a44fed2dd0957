/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which memory an address is, and the context to work in.
 *
 * No context is ever made where none was: the one used is the one that the destination's memory was made in. A primary
 * context is retained for as long as it is used; a context of the caller's own cannot be, and must outlive the reads
 * into its memory.
 */
#ifndef FST3FS_CUDA_CONTEXT_H
#define FST3FS_CUDA_CONTEXT_H

#include <stdbool.h>

#include "cuda_driver.h"

/* Where device memory lies. */
struct fst3fs_cuda_place {
	int ordinal;
	struct CUctx_st *ctx; /* that it was made in; NULL for memory of the device as a whole (virtual memory API) */
};

struct fst3fs_cuda_context {
	struct CUctx_st *handle;
	int ordinal;
	bool primary; /* retained by us */
};

/* 1 device (or managed) memory, `place` filled; 0 not the driver's to copy to: plain or page-locked host memory; or a
 * negative errno. Needs no current context. */
int fst3fs_cuda_locate(const struct fst3fs_cuda_driver *cu, uint64_t address, struct fst3fs_cuda_place *place,
		       struct fst3fs_error *err);

/* The context for work on memory at `place`. Undone by: fst3fs_cuda_context_put(). */
int fst3fs_cuda_context_get(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place,
			    struct fst3fs_cuda_context *out, struct fst3fs_error *err);
void fst3fs_cuda_context_put(const struct fst3fs_cuda_driver *cu, struct fst3fs_cuda_context *ctx);

/* Is `ctx` the context that fst3fs_cuda_context_get would give for `place`? */
bool fst3fs_cuda_context_fits(const struct fst3fs_cuda_context *ctx, const struct fst3fs_cuda_place *place);

/* Makes the context current on this thread, on top of the caller's; leave uncovers the caller's again. */
fst3fs_cu_result fst3fs_cuda_enter(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_context *ctx);
void fst3fs_cuda_leave(const struct fst3fs_cuda_driver *cu);

#endif

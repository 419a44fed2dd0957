/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page-locking a staging buffer, once for all GPUs that copies go to from it.
 *
 * It is done on a thread of its own while the first pieces are still on the wire; copies that start before it is done
 * go through the driver's own staging and are as right. It is undone when the last device lets go of it.
 */
#ifndef FST3FS_CUDA_PIN_H
#define FST3FS_CUDA_PIN_H

#include "cuda_context.h"
#include "dev.h"

struct fst3fs_cuda_pin;

/* Starts page-locking `config`'s staging buffer, or joins in. NULL without memory for it, which is not an error. */
struct fst3fs_cuda_pin *fst3fs_cuda_pin_get(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place,
					    const struct fst3fs_dev_config *config);
/* Waits for page-locking in progress: after this the memory may be unmapped. NULL is fine. */
void fst3fs_cuda_pin_put(struct fst3fs_cuda_pin *pin);

/* 1 page-locked, 0 could not be, -1 not known yet. */
int fst3fs_cuda_pin_state(struct fst3fs_cuda_pin *pin);
/* What the user should know about it, once for each buffer, as soon as it is known: a line and its level, or 0. */
int fst3fs_cuda_pin_remark(struct fst3fs_cuda_pin *pin, const char *device, char *line, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waking the engine from the driver's own thread.
 *
 * One wake-up is under way at a time. It may outlive the device that asked for it (a GPU that hangs never delivers it),
 * so it belongs to both sides, and the last one frees it. One that the driver never delivers is never freed.
 */
#ifndef FST3FS_CUDA_NOTICE_H
#define FST3FS_CUDA_NOTICE_H

#include <stdbool.h>

#include "waker.h"

struct fst3fs_cuda_notice;

struct fst3fs_cuda_notice *fst3fs_cuda_notice_new(struct fst3fs_waker *waker);
/* After this the waker is not touched again. Never waits for the driver. NULL is fine. */
void fst3fs_cuda_notice_close(struct fst3fs_cuda_notice *notice);

/* True if none was under way: the caller must now have fst3fs_cuda_notice_run called, or take it back. */
bool fst3fs_cuda_notice_arm(struct fst3fs_cuda_notice *notice);
void fst3fs_cuda_notice_disarm(struct fst3fs_cuda_notice *notice);

/* For cuLaunchHostFunc: posts the waker and makes no call to the driver. `arg` is the notice. */
void fst3fs_cuda_notice_run(void *arg);

#endif

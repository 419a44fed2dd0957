/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of dev_cuda share: a process that uses the fake driver as PyTorch uses the real one, and an engine's
 * side of a device. */
#ifndef CUDA_FIXTURE_H
#define CUDA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock.h"
#include "dev.h"
#include "fake_cuda.h"

enum { STAGING = 1 << 20, PIECE = 64 << 10, PIECES = STAGING / PIECE };

/* Waiting this long means: only a wake-up ends it. The runner's time limit catches one that was lost. */
#define WAKE_ONLY_MS 3600000u

struct fixture {
	struct fst3fs_waker waker;
	struct fst3fs_dev_config config;
	CUcontext primary[2]; /* held by "the application" */
	struct fst3fs_dev_copy copies[PIECES];
	struct fst3fs_dev_part parts[PIECES];
	struct fst3fs_error err;
};

int fixture_setup(void **state);
void fixture_free(struct fixture *fx);
/* Non-zero when anything of the driver was left behind or misused. */
int nothing_left(void);
/* Both. */
int fixture_teardown(void **state);

/* `size` bytes of memory of a device, made in its primary context. */
CUdeviceptr device_alloc(struct fixture *fx, int device, size_t size);
/* Reads device memory back. The bytes are those that are there now: nothing is waited for. */
void device_read(CUcontext ctx, CUdeviceptr from, void *to, size_t size);

/* The staging buffer filled with bytes that depend on position and `seed`. */
void fill_staging(struct fixture *fx, unsigned seed);

struct fst3fs_dev *open_dev(struct fixture *fx, int ordinal);
/* Starts a copy of piece `i` of the staging buffer. */
int start_piece(struct fixture *fx, struct fst3fs_dev *dev, int i, CUdeviceptr dst, bool wait);
/* Collects `n` copies, sleeping on the waker, `poll_ms` at a time. Returns how many of them failed. */
int collect(struct fixture *fx, struct fst3fs_dev *dev, int n, unsigned poll_ms);
/* One read of the whole staging buffer, begin to end; 0, or what the device said. */
int whole_read(struct fixture *fx, struct fst3fs_dev *dev, CUdeviceptr dst, unsigned poll_ms);
/* Until page-locking was tried: 1 or 0. */
int wait_page_locked(struct fst3fs_dev *dev);

#endif

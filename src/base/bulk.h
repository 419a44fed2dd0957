/* SPDX-License-Identifier: Apache-2.0 */
/* memcpy for more bytes than anyone will use soon. */
#ifndef FST3FS_BULK_H
#define FST3FS_BULK_H

#include <stddef.h>

/*
 * Copies like memcpy. From a few hundred KiB on the destination is written past the caches, where the processor can:
 * its lines are not read from memory only to be overwritten, and what is still to be copied keeps its place there.
 */
void fst3fs_bulk_copy(void *dst, const void *src, size_t n);

#endif

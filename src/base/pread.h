/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FST3FS_PREAD_H
#define FST3FS_PREAD_H

#include <stddef.h>
#include <stdint.h>

/* Reads at `offset` until `bytes` are there or the file ends, through interruptions and short counts: how many, or a
 * negative errno. */
int64_t fst3fs_pread_fully(int fd, void *to, size_t bytes, uint64_t offset);

#endif

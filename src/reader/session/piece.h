/* SPDX-License-Identifier: Apache-2.0 */
/* How a buffer is cut into slots and a range into requests. Pure arithmetic. */
#ifndef FST3FS_PIECE_H
#define FST3FS_PIECE_H

#include <stdint.h>

struct fst3fs_layout {
	uint64_t piece;	 /* bytes of a slot: the largest request */
	uint32_t slots;	 /* slots in the buffer */
	uint32_t window; /* requests in flight at most */
	uint64_t block;	 /* block size to register the buffer with; 0 = one block. A multiple of `piece` */
};

/* The layout of a buffer of `buffer_size` bytes (>= 1) with at most `entries` (>= 1) requests in flight. */
struct fst3fs_layout fst3fs_layout_choose(uint64_t buffer_size, uint32_t entries);

/* Registration block of any large buffer: the daemon registers memory with the RDMA device block by block. */
uint64_t fst3fs_layout_block(uint64_t buffer_size);

/* Length of the request that starts at `offset` of a file and may go up to `end`: at most `cap` bytes, and ending at a
 * multiple of `blksize` (>= 1) of the FILE offset where it can, because that is where storage splits requests. */
uint64_t fst3fs_piece_cut(uint64_t offset, uint64_t end, uint64_t cap, uint64_t blksize);

#endif

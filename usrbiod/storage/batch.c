/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

static int min(int a, int b)
{
	return a < b ? a : b;
}

/* Modelled for io_depth 1 and 0 in tests/models/ring.pml. */
int batch_next(int io_depth, int timeout_ms, int queued, int room)
{
	int available = min(queued, room);

	if (available <= 0)
		return 0;
	if (io_depth > 0)
		return available >= io_depth ? io_depth : 0;
	if (io_depth == 0)
		return available;
	/* A partial batch with a time-out should be issued when that has passed. The real daemon never does; a client
	 * that counts on it must be seen to wait for ever here, too. (Not -io_depth: that overflows for INT_MIN.) */
	if (timeout_ms > 0 && io_depth < -queued)
		return 0;
	return io_depth < -available ? available : -io_depth;
}

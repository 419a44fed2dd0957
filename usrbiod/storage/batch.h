/* SPDX-License-Identifier: Apache-2.0 */
/* The batching rule of the 3FS daemon: how many queued requests the next job of a ring takes. */
#ifndef USRBIOD_BATCH_H
#define USRBIOD_BATCH_H

enum {
	BATCH_JOBS_PER_SCAN = 32, /* from one ring */
};

/* `io_depth` and `timeout_ms` are the ring's, `queued` requests wait, `room` more may be given out. 0 = no job now. */
int batch_next(int io_depth, int timeout_ms, int queued, int room);

#endif

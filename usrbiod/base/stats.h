/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon counts. */
#ifndef USRBIOD_STATS_H
#define USRBIOD_STATS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* Calls from the kernel. */
enum stats_op {
	OP_LOOKUP,
	OP_GETATTR,
	OP_SETATTR,
	OP_READLINK,
	OP_OPEN,
	OP_CREATE,
	OP_READ,
	OP_WRITE,
	OP_RELEASE,
	OP_FSYNC,
	OP_MKDIR,
	OP_UNLINK,
	OP_RMDIR,
	OP_RENAME,
	OP_SYMLINK,
	OP_LINK,
	OP_OPENDIR,
	OP_READDIR,
	OP_RELEASEDIR,
	OP_STATFS,
	OP_IOCTL,
	OP_FALLOCATE,
	OPS,
};

/* What a client must not do. */
enum violation {
	VIOLATION_KEY,	   /* registration of something that is no buffer or ring */
	VIOLATION_HEADER,  /* an index of the ring's header is out of range */
	VIOLATION_INDEX,   /* a submission names a request that is out of range */
	VIOLATION_BUFFER,  /* unknown buffer, or another user's */
	VIOLATION_RANGE,   /* outside the buffer, across its blocks, or an impossible file offset */
	VIOLATION_FILE,	   /* inode not open on this mount, or not the user's to read */
	VIOLATION_MEMORY,  /* shared memory was truncated, or could not be had */
	VIOLATION_BOUND,   /* more registrations, or larger requests, than a client may have */
	VIOLATION_OVERRUN, /* io_depth 0: more requests than the completion queue has room for */
	VIOLATIONS,
};

/* Ring requests so far. */
struct stats_requests {
	uint64_t requests, bytes, batches;
	int in_flight, in_flight_max;
	uint64_t busy_ns;      /* time with anything in flight */
	uint64_t in_flight_ns; /* in_flight times its duration, summed */
};

struct stats {
	uint64_t started_ns;
	_Atomic uint64_t ops[OPS];
	_Atomic uint64_t violations[VIOLATIONS];
	_Atomic uint64_t read_bytes; /* of ordinary reads */
	_Atomic int iovs, rings;     /* registered now */

	pthread_mutex_t lock; /* of what follows */
	struct stats_requests ring;
	uint64_t last_change_ns; /* of in_flight */
};

void stats_init(struct stats *s);
void stats_fini(struct stats *s);
void stats_op(struct stats *s, enum stats_op op);
void stats_violation(struct stats *s, enum violation kind);
/* A job of `requests` was formed; it has completed, with `bytes` moved. */
void stats_job_formed(struct stats *s, int requests);
void stats_job_done(struct stats *s, int requests, uint64_t bytes);
/* As of now. */
void stats_requests(struct stats *s, struct stats_requests *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: requests of one ring that are read together and complete together.
 *
 * Life: formed by ring_form(), queued until a worker is free, run; done when the last piece has passed the link and
 * the last byte is in its place; completed by ring_complete().
 */
#ifndef USRBIOD_JOB_H
#define USRBIOD_JOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "key.h"
#include "wire.h"
#include "xfer.h"

struct inode;
struct iov;
struct ring;

struct request {
	struct usrbio_arg arg; /* copied out of the ring */
	int32_t index;
	uint64_t userdata;
	int64_t result;	     /* nonzero before it is run: refused already */
	struct inode *inode; /* with an io reference */
	struct iov *iov;     /* with a reference */
	uint64_t len;	     /* bytes to move: no more than the file has */
	bool sparse;	     /* the backing file may have holes */
	bool hang;
	int pieces;
};

struct job {
	struct xfer xfer;
	struct job *next_in_ring, *next_queued;
	struct ring *ring;
	enum priority queue; /* whose workers run it */
	_Atomic int pending; /* the simulated time, and each piece being copied */
	bool done;
	int count;
	struct request requests[];
};

struct job *job_new(struct ring *ring, int count);
/* Runs it on as many threads as it takes; ends with rings_job_done(). */
void job_run(struct job *job);
/* Lets go of the files and buffers of its requests. */
void job_release(struct job *job);
void job_free(struct job *job);

#endif

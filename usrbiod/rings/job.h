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

#include "request.h"
#include "transfer.h"

struct ring;

struct job {
	struct transfer transfer;
	struct job *next_in_ring, *next_queued;
	const struct backend *backend;
	const struct iov *ring_iov; /* the ring's memory: its key and owner say what the requests may */
	struct ring *ring;	    /* which it completes in: the maker's */
	enum priority queue;	    /* whose workers run it */
	_Atomic int pending;	    /* the simulated time, and each piece being copied */
	void (*done)(struct job *job, void *arg);
	void *done_arg;
	bool completed; /* and waits for those before it */
	int count;
	struct request requests[];
};

struct job *job_new(const struct backend *b, const struct iov *ring_iov, int count);
/* Runs it on as many threads as it takes; ends with `done`, on any of them, or never when a request hangs. */
void job_run(struct job *job, void (*done)(struct job *job, void *arg), void *arg);
/* Lets go of the files and buffers of its requests. */
void job_release(struct job *job);
void job_free(struct job *job);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ring: its memory, the jobs formed from its queue, and their completions.
 *
 * Nothing in the shared memory is believed: the client's indices are read once and checked, the daemon's own are kept
 * here and only published there. A client that breaks its ring's header is not served any more.
 */
#ifndef USRBIOD_RING_H
#define USRBIOD_RING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "job.h"

struct ring {
	_Atomic int refs; /* its place in struct rings, and each job that has not completed */
	const struct backend *backend;
	struct iov *iov;
	struct ring *next; /* in struct rings */
	struct sigbus_area *area;
	pthread_mutex_t lock; /* of what follows */
	bool closed;	      /* deregistered: no more jobs */
	bool broken;	      /* refused for good */
	int slots;
	struct usrbio_ring_header *header;
	struct usrbio_arg *args;
	struct usrbio_cqe *cqes;
	struct usrbio_sqe *sqes;
	sem_t *completed;
	int next_sqe;		   /* the oldest submission not given to a job */
	int sqe_tail;		   /* as published */
	int cqe_head;		   /* as published */
	int running;		   /* requests in jobs */
	struct job *first, **last; /* jobs in submission order, until all before them have completed too */
};

/* A ring in the memory of `iov`, of which it takes a reference; the ring's first reference is the caller's. -EINVAL:
 * size or io_depth. */
int ring_new(const struct backend *b, struct iov *iov, struct ring **out);
/* No more jobs from now on. */
void ring_close(struct ring *r);
void ring_get(struct ring *r);
void ring_put(struct ring *r);

/* Forms up to `max` jobs by the batching rule; how many. They are the caller's to run. */
int ring_form(struct ring *r, struct job **jobs, int max);

/* Posts all completions of the job together. The job, and its reference to the ring, are gone afterwards. */
void ring_complete(struct ring *r, struct job *job);

/* Frees the jobs that never completed (they hang on purpose). Only when nothing runs any more. */
void ring_abandon(struct ring *r);

#endif

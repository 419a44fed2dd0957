/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transport that reads files like the others, and misbehaves on demand: it completes in random order after random
 * delays, is full at random, shortens, fails, hangs, and answers late.
 *
 * One configuration for the process; set it while no transport is open, except `hold`.
 */
#ifndef IO_FAULT_H
#define IO_FAULT_H

#include <stdatomic.h>

#include "io.h"

struct io_fault_config {
	unsigned seed;
	unsigned max_delay_us; /* before each completion */
	unsigned full_one_in;  /* start() says -EAGAIN this often, when something is in flight; 0 = never */
	unsigned fail_nth;     /* this request (from 1) is answered with `fail_code` */
	int fail_code;	       /* ... 0 = with half of its bytes */
	unsigned hang_nth;     /* this request is not answered as long as `hold` is set */
	unsigned broken_nth;   /* from this request on, reap() says -EPROTO */
	int broken_behind;     /* so many answers are handed back together; from then on it says so, too */
	int probe_code;	       /* what probe() says */
	_Atomic bool hold;
};

extern struct io_fault_config io_fault_config;
extern const struct fst3fs_io_ops io_fault;

/* Requests started and not yet handed back by reap(), over all transports of this kind. */
extern atomic_int io_fault_in_flight;
/* Requests started since it was last set to 0; they are numbered from 1. */
extern atomic_uint io_fault_requests;
/* Regions that exist. */
extern atomic_int io_fault_regions;
/* Largest number in flight seen since it was last set to 0. */
extern atomic_int io_fault_most;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Faults made on purpose: each Nth request fails, hangs or comes back short. */
#ifndef USRBIOD_FAULTS_H
#define USRBIOD_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

enum fault {
	FAULT_NONE,
	FAULT_HANG,  /* never completes, nor does its job */
	FAULT_FAIL,  /* -EREMOTEIO */
	FAULT_SHORT, /* half of its bytes */
	FAULT_KINDS,
};

struct faults {
	uint64_t every[FAULT_KINDS]; /* 0 = never */
	_Atomic uint64_t requests;
	_Atomic uint64_t made[FAULT_KINDS];
};

/* What happens to the next request. Where several fall on one, the first in the order of the enum. */
enum fault faults_next(struct faults *f);

#endif

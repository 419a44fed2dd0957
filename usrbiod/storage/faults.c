/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

enum fault faults_next(struct faults *f)
{
	uint64_t n = atomic_fetch_add(&f->requests, 1) + 1;

	for (int kind = FAULT_HANG; kind < FAULT_KINDS; kind++) {
		if (f->every[kind] && n % f->every[kind] == 0) {
			atomic_fetch_add(&f->made[kind], 1);
			return (enum fault)kind;
		}
	}
	return FAULT_NONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated storage: how long it takes, how it cuts files into chunks, and what goes wrong on purpose. */
#ifndef USRBIOD_STORAGE_H
#define USRBIOD_STORAGE_H

#include <stdint.h>

#include "faults.h"
#include "link.h"
#include "timer.h"

struct storage_config {
	struct link_config link;
	uint64_t chunk_bytes;
	uint64_t fault_every[FAULT_KINDS]; /* 0 = never */
};

struct storage {
	uint64_t chunk_bytes;
	struct link link;
	struct faults faults;
	struct timer *timer;
};

/* 0 or a negative errno; storage_fini() is due either way. */
int storage_start(struct storage *s, const struct storage_config *config);
/* Drops what is under way, and all that comes later. */
void storage_stop(struct storage *s);
void storage_fini(struct storage *s);

#endif

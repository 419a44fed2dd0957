/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated storage: how long it takes, how much of it runs at once, where chunks lie, and what goes wrong on
 * purpose.
 */
#ifndef USRBIOD_STORAGE_H
#define USRBIOD_STORAGE_H

#include <stdatomic.h>
#include <stdint.h>

#include "admission.h"
#include "faults.h"
#include "link.h"
#include "timer.h"

struct storage_config {
	struct link_config link;
	struct admission_config admission;
	uint64_t chunk_bytes;
	uint64_t fault_every[FAULT_KINDS]; /* 0 = never */
};

struct storage {
	uint64_t chunk_bytes;
	_Atomic int64_t pieces; /* that all transfers have reserved */
	pthread_mutex_t lock;	/* of the queues in all transfers */
	struct link link;
	struct admission admission;
	struct faults faults;
	struct timer *timer;
};

/* 0 or a negative errno; storage_fini() is due either way. */
int storage_start(struct storage *s, const struct storage_config *config);
/* Drops what is under way, and all that comes later. */
void storage_stop(struct storage *s);
void storage_fini(struct storage *s);

/* The server that holds the chunk at `off` of the file with that inode number. */
int storage_server(const struct storage *s, uint64_t ino, uint64_t off);

#endif

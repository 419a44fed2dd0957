/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's parts, in one place.
 *
 *   kernel ── fs, dir, virt ──┬── inode      files that the kernel knows, and the backing fds behind them
 *                             ├── iovs       buffers and rings registered by symlink
 *                             └── reply      answers, delayed by the metadata latency
 *   clients ── rings ── job ── xfer ── link, timer       requests, in simulated time
 *                         └── copiers                    real bytes, between backing files and clients' buffers
 */
#ifndef USRBIOD_H
#define USRBIOD_H

#include "dirhandle.h"
#include "faults.h"
#include "inode.h"
#include "iovs.h"
#include "link.h"
#include "options.h"
#include "pool.h"
#include "rings.h"
#include "stats.h"
#include "timer.h"

struct usrbiod {
	struct options options;
	struct stats stats;
	struct faults faults;
	struct link link;
	struct timer *timer;
	struct fst3fs_pool *copiers;
	struct dirhandles dirs;
	struct inodes *inodes;
	struct rings *rings;
	struct iovs *iovs;
	char mountpoint[4096]; /* canonical */
	int ready_fd;	       /* the waiting parent's pipe, -1 = none */
};

#endif

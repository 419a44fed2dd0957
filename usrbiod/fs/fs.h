/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount as clients see it: what every FUSE operation works on.
 */
#ifndef USRBIOD_FS_H
#define USRBIOD_FS_H

#include <fuse_lowlevel.h>
#include <limits.h>

#include "dirhandle.h"
#include "inode.h"
#include "iovs.h"
#include "pool.h"
#include "rings.h"
#include "stats.h"
#include "storage.h"

struct fs_config {
	const char *cluster;
	bool read_only;
	bool strict_keys;
	double attr_timeout_s; /* for so long the kernel keeps names and attributes */
	uint64_t meta_latency_ns;
};

/* The pointers are the maker's, and outlive the session. */
struct fs {
	struct fs_config config;
	char mountpoint[PATH_MAX]; /* canonical */
	struct stats *stats;
	struct storage *storage;
	struct fst3fs_pool *copiers;
	struct inodes *inodes;
	struct iovs *iovs;
	struct rings *rings;
	struct dirhandles dirs;
};

/* The mount behind a request, which is the session's user data; counts the operation. */
struct fs *fs_begin(fuse_req_t req, enum stats_op op);
/* As the kernel names the caller. */
struct caller fs_caller(fuse_req_t req);

#endif

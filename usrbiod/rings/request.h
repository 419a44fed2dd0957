/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a ring: what its client asked for, and whether it may.
 */
#ifndef USRBIOD_REQUEST_H
#define USRBIOD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "inode.h"
#include "iovs.h"
#include "pool.h"
#include "stats.h"
#include "storage.h"
#include "wire.h"

/* What requests are served with: shared by all rings, owned by nobody here. */
struct backend {
	struct stats *stats;
	struct storage *storage;
	struct inodes *inodes;
	struct iovs *iovs;
	struct fst3fs_pool *copiers;
	bool read_only;
	bool null; /* simulated time passes, and no bytes are moved */
};

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

/* Into the request, which came through the ring in `ring`: an error, or what is to be done; a fault, when it is one's
 * turn. */
void request_check(const struct backend *b, const struct iov *ring, struct request *req);
/* Lets go of its file and buffer. */
void request_release(const struct backend *b, struct request *req);

#endif

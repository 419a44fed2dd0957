/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers beyond usrbio.h: what the drop-in's lasting buffers need. */
#ifndef USRBIO_IOV_H
#define USRBIO_IOV_H

#include <stdbool.h>

#include "usrbio.h"

struct usrbio_iov_attr {
	size_t size; /* exactly; an object's size need not be one of pages */
	size_t block_size;
	int numa;
	/* Other processes may open it by its name, children share it, and destroying it waits for the daemon. */
	bool lasting;
};

int usrbio_iov_create_attr(struct usrbio_client *c, const struct usrbio_iov_attr *attr, struct usrbio_iov **out,
			   struct fst3fs_error *err);
/* Takes the name of a lasting buffer out of /dev/shm; what is mapped and registered stays. */
void usrbio_iov_unlink(struct usrbio_iov *iov);

/* Do `len` bytes at `off` lie in a buffer of `size` bytes and in one block of it? */
bool usrbio_range_ok(size_t size, size_t block_size, uint64_t off, uint64_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device is: it takes bytes from the staging buffer to an address that belongs to it.
 *
 * The engine calls `begin`, `copy`, `reap` and `settle` under its own lock, so a device sees one caller at a time.
 * Copies finish on the device's own time and in any order; whoever finishes one posts the waker.
 */
#ifndef FST3FS_DEV_H
#define FST3FS_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "populator.h"
#include "waker.h"

struct fst3fs_dev; /* one open device; each kind embeds it as its first member */

struct fst3fs_dev_part {
	uint64_t dst;
	const void *src;
	size_t length;
};

/* One copy. Kept by the engine until it was reaped. It has as many parts as a piece has destinations, all of them on
 * this device and in one context of it, and is done when all of them are. */
struct fst3fs_dev_copy {
	const struct fst3fs_dev_part *parts;
	size_t nparts; /* >= 1 */
	/* Out. 0 or a negative errno, with the text in `err`. */
	int status;
	/* The device's own while the copy is under way. */
	struct fst3fs_dev_copy *next;
	struct fst3fs_dev *dev;
	void *priv;
};

struct fst3fs_dev_config {
	void *staging; /* the buffer that copies come from */
	size_t staging_size;
	struct fst3fs_populator *populator; /* makes memory of this process resident; NULL: nobody does */
	struct fst3fs_waker *waker;
};

struct fst3fs_dev_ops {
	size_t size; /* sizeof(struct fst3fs_dev_ops) */
	const char *name;
	const char *descr;

	/* Required. Does `address` belong to a device of this kind? 1 and which one in `ordinal`; 0 no; or a negative
	 * errno. Must be cheap: asked once per range. */
	int (*match)(uint64_t address, int *ordinal, struct fst3fs_error *err);
	/* Required. A device for copies out of one staging buffer. `name_out` gets what info() shows ("host",
	 * "cuda:0"). */
	int (*open)(int ordinal, const struct fst3fs_dev_config *config, struct fst3fs_dev **out,
		    struct fst3fs_error *err);
	/* Required. No copy is under way; or the buffer is given up (`given_up`). False: copies out of it never ended,
	 * so that it must stay mapped for ever. Waits for copies that are sure to end, and for no others. */
	bool (*close)(struct fst3fs_dev *dev, bool given_up);
	/* Optional. A read to this device begins on the calling thread: what its caller has already queued for the
	 * destination comes first. */
	int (*begin)(struct fst3fs_dev *dev, uint64_t dst, struct fst3fs_error *err);
	/* Required. Starts a copy: 0 = under way, to be reaped; or a negative errno, and nothing of it is under way.
	 * `wait` = return only when it is done (still reaped). */
	int (*copy)(struct fst3fs_dev *dev, struct fst3fs_dev_copy *copy, bool wait, struct fst3fs_error *err);
	/* Required. Up to `max` copies that are done, `status` set. `err` gets the text of the first that failed. */
	int (*reap)(struct fst3fs_dev *dev, struct fst3fs_dev_copy **out, int max, struct fst3fs_error *err);
	/* Required. 1 page-locked, 0 not, -1 not asked for yet. */
	int (*page_locked)(const struct fst3fs_dev *dev);
	/* Optional. Something the user should know about the device, said once: a line for the log and its level, or 0
	 * when there is nothing (more). Devices do not log themselves: the callback may need the thread, or a lock, of
	 * the caller. */
	int (*remark)(struct fst3fs_dev *dev, char *line, size_t size);
};

struct fst3fs_dev {
	const struct fst3fs_dev_ops *ops;
	int ordinal;
	char name[16]; /* "host", "cuda:0" */
};

extern const struct fst3fs_dev_ops fst3fs_dev_host; /* memcpy; the address belongs to nobody else */
extern const struct fst3fs_dev_ops fst3fs_dev_cuda; /* the CUDA driver API, opened at run time */

#endif

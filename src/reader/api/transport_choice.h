/* SPDX-License-Identifier: Apache-2.0 */
/* Which way a reader goes to its files: decided once, from its settings and from what is mounted. */
#ifndef FST3FS_CHOOSE_H
#define FST3FS_CHOOSE_H

#include "err.h"
#include "io.h"

struct fst3fs_way {
	const struct fst3fs_io_ops *main; /* NULL: everything through the operating system */
	char mount[4096];		  /* the 3FS mount, "" for none */
	char why_not[768];		  /* why nothing better was chosen */
};

int fst3fs_way_choose(const struct fst3fs_options *o, struct fst3fs_way *way, struct fst3fs_error *err);

#endif

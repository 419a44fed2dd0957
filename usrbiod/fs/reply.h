/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to metadata operations, held back for --meta-latency-us without a thread waiting: however many come at once,
 * each waits that long and no longer.
 */
#ifndef USRBIOD_REPLY_H
#define USRBIOD_REPLY_H

#include "fs.h"

void reply_err(struct fs *fs, fuse_req_t req, int err);
void reply_entry(struct fs *fs, fuse_req_t req, const struct fuse_entry_param *entry);
void reply_attr(struct fs *fs, fuse_req_t req, const struct stat *st, double timeout_s);
/* An open file or directory. If nobody is there any more to take it, `undo` is called with it. */
void reply_open(struct fs *fs, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi,
		void (*undo)(struct fs *fs, fuse_ino_t ino, uint64_t fh));
void reply_create(struct fs *fs, fuse_req_t req, const struct fuse_entry_param *entry, const struct fuse_file_info *fi,
		  void (*undo)(struct fs *fs, fuse_ino_t ino, uint64_t fh));
/* `text` is copied. */
void reply_readlink(struct fs *fs, fuse_req_t req, const char *text);

#endif

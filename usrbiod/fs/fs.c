/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

struct fs *fs_begin(fuse_req_t req, enum stats_op op)
{
	struct fs *fs = fuse_req_userdata(req);

	stats_op(fs->stats, op);
	return fs;
}

struct caller fs_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct caller){.uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid};
}

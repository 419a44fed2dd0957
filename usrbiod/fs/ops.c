/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"

#include "dir.h"
#include "file.h"
#include "ioctl.h"

const struct fuse_lowlevel_ops fs_ops = {
	.lookup = dir_lookup,
	.forget = dir_forget,
	.forget_multi = dir_forget_multi,
	.getattr = file_getattr,
	.setattr = file_setattr,
	.readlink = dir_readlink,
	.mkdir = dir_mkdir,
	.unlink = dir_unlink,
	.rmdir = dir_rmdir,
	.symlink = dir_symlink,
	.rename = dir_rename,
	.link = dir_link,
	.create = dir_create,
	.open = file_open,
	.read = file_read,
	.write_buf = file_write_buf,
	.release = file_release,
	.fsync = file_fsync,
	.fallocate = file_fallocate,
	.opendir = dir_opendir,
	.readdir = dir_readdir,
	.releasedir = dir_releasedir,
	.statfs = file_statfs,
	.ioctl = ioctl_handle,
};

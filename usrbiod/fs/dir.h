/* SPDX-License-Identifier: Apache-2.0 */
/* Names: every operation that takes a directory. Those of the virtual directory go to virt.c. */
#ifndef USRBIOD_DIR_H
#define USRBIOD_DIR_H

#include <fuse_lowlevel.h>

void dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void dir_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups);
void dir_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void dir_readlink(fuse_req_t req, fuse_ino_t ino);
void dir_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void dir_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void dir_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void dir_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void dir_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		unsigned int flags);
void dir_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void dir_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual directory: the nodes of 3fs-virt, whose numbers are INODE_VIRTUAL and above. */
#ifndef USRBIOD_VIRT_H
#define USRBIOD_VIRT_H

#include "fs.h"

static inline bool virt_owns(fuse_ino_t ino)
{
	return ino >= INODE_VIRTUAL;
}
/* Is this the name of the virtual directory in the root? It hides a backing file of that name. */
bool virt_is_name(fuse_ino_t parent, const char *name);
void virt_lookup(struct fs *fs, fuse_req_t req, fuse_ino_t parent, const char *name);
void virt_getattr(struct fs *fs, fuse_req_t req, fuse_ino_t ino);
void virt_readlink(struct fs *fs, fuse_req_t req, fuse_ino_t ino);
void virt_symlink(struct fs *fs, fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void virt_unlink(struct fs *fs, fuse_req_t req, fuse_ino_t parent, const char *name);
void virt_opendir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void virt_readdir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off);
void virt_releasedir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif

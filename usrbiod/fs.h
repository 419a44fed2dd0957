/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE operations. fs.c serves files and dir.c names, both on the backing directory; virt.c serves the nodes of
 * the virtual directory, whose numbers are INODE_VIRTUAL and above; fsioctl.c serves the ioctls.
 */
#ifndef USRBIOD_FS_H
#define USRBIOD_FS_H

#include <fuse_lowlevel.h>

#include "stats.h"
#include "usrbiod.h"

extern const struct fuse_lowlevel_ops fs_ops;

/* The daemon behind a request; counts the operation. */
struct usrbiod *fs_begin(fuse_req_t req, enum stats_op op);
/* As the kernel names the caller. */
struct caller fs_caller(fuse_req_t req);
/* Fills `entry` from what inodes_lookup() gave. */
void fs_entry(struct usrbiod *d, struct inode *inode, const struct stat *st, struct fuse_entry_param *entry);
/* An open file, as fi->fh: the backing fd and the count of who has it open. */
int fs_file_opened(struct usrbiod *d, struct inode *inode, int flags, struct fuse_file_info *fi);
void fs_file_closed(struct usrbiod *d, fuse_ino_t ino, uint64_t fh);
/* An open directory, as fi->fh: a struct dirhandle. */
void fs_dir_closed(struct usrbiod *d, fuse_ino_t ino, uint64_t fh);
/* New files belong to the caller. 0 or a negative errno. */
int fs_give_to_caller(fuse_req_t req, int dir_fd, const char *name);

void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
	      const void *in, size_t in_size, size_t out_size);

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

static inline bool virt_owns(fuse_ino_t ino)
{
	return ino >= INODE_VIRTUAL;
}
/* Is this the name of the virtual directory in the root? It hides a backing file of that name. */
bool virt_is_name(fuse_ino_t parent, const char *name);
void virt_lookup(struct usrbiod *d, fuse_req_t req, fuse_ino_t parent, const char *name);
void virt_getattr(struct usrbiod *d, fuse_req_t req, fuse_ino_t ino);
void virt_readlink(struct usrbiod *d, fuse_req_t req, fuse_ino_t ino);
void virt_symlink(struct usrbiod *d, fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void virt_unlink(struct usrbiod *d, fuse_req_t req, fuse_ino_t parent, const char *name);
void virt_opendir(struct usrbiod *d, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void virt_readdir(struct usrbiod *d, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off);
void virt_releasedir(struct usrbiod *d, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that the kernel knows.
 *
 * A node id is the inode number that clients see in fstat(), because that is what their requests carry: the backing
 * file's own where possible, and 1 for the root, as FUSE demands.
 */
#ifndef USRBIOD_INODE_H
#define USRBIOD_INODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Numbers from here on belong to the virtual directory. */
#define INODE_VIRTUAL (1ull << 62)

struct inodes;

struct inode {
	struct inode *next; /* of the same hash */
	uint64_t ino;
	dev_t dev; /* of the backing file */
	ino_t backing_ino;
	int fd;		       /* O_PATH; keeps the backing number from being used again */
	uint64_t lookups;      /* references the kernel holds */
	unsigned opens;	       /* open file descriptions on the mount */
	unsigned ios;	       /* ring requests that run */
	int read_fd, write_fd; /* for ring requests, opened by the first; -1 = not open */
	struct stat stat;      /* who may use it: mode and owner, as of the last open */
};

/* Serves the directory `root_fd`, which it takes. NULL without memory. */
struct inodes *inodes_new(int root_fd);
void inodes_free(struct inodes *t);

/* The inode of a number that the kernel holds a reference to, which keeps it alive; NULL = no such (a stale number). */
struct inode *inodes_node(struct inodes *t, uint64_t ino);

/* The same for a number that somebody else gave, with a reference as the kernel's, for inodes_forget(). */
struct inode *inodes_hold(struct inodes *t, uint64_t ino);

/* Finds `name` in the directory `parent` and takes one reference for the kernel. `st` is filled with st_ino as clients
 * see it. 0 or a negative errno. */
int inodes_lookup(struct inodes *t, const struct inode *parent, const char *name, struct stat *st, struct inode **out);
void inodes_forget(struct inodes *t, uint64_t ino, uint64_t lookups);

/* Puts the number that clients see into `st`, which was read from the backing file system. */
void inodes_renumber(struct inodes *t, struct stat *st);

/* Opens the backing file anew. An fd or a negative errno. */
int inode_reopen(const struct inode *inode, int flags);

/* An open file description on the mount comes and goes. */
void inodes_opened(struct inodes *t, struct inode *inode);
void inodes_closed(struct inodes *t, struct inode *inode);

/* The regular file with that number, for one request of a user: -EBADF when it is not open on this mount, -EACCES when
 * its mode does not let the user. */
int inodes_io_begin(struct inodes *t, uint64_t ino, bool for_write, uid_t uid, gid_t gid, struct inode **out);
void inodes_io_end(struct inodes *t, struct inode *inode);

#endif

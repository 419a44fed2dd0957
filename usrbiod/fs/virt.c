/* SPDX-License-Identifier: Apache-2.0 */
#include "virt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "registration.h"
#include "reply.h"
#include "wire.h"

enum {
	NODE_VIRT,
	NODE_IOVS,
	NODE_RM_RF,
	NODE_GET_CONF,
	NODE_SET_CONF,
	NODE_SUBMIT, /* of normal priority; high and low follow */
	NODE_SUBMIT_HIGH,
	NODE_SUBMIT_LOW,
	NODES,
	NODE_ROOT = -1,
	FIRST_KEY_NODE = 1024, /* node of a registration: this plus its serial */
};

struct node {
	const char *name;
	int parent;
	mode_t mode;
};

static const struct node nodes[NODES] = {
	[NODE_VIRT] = {USRBIO_VIRT_DIR, NODE_ROOT, S_IFDIR | 0555},
	[NODE_IOVS] = {"iovs", NODE_VIRT, S_IFDIR | 0777},
	[NODE_RM_RF] = {"rm-rf", NODE_VIRT, S_IFDIR | 0555},
	[NODE_GET_CONF] = {"get-conf", NODE_VIRT, S_IFDIR | 0555},
	[NODE_SET_CONF] = {"set-conf", NODE_VIRT, S_IFDIR | 0555},
	[NODE_SUBMIT] = {"submit-ios", NODE_IOVS, S_IFLNK | 0777},
	[NODE_SUBMIT_HIGH] = {"submit-ios.ph", NODE_IOVS, S_IFLNK | 0777},
	[NODE_SUBMIT_LOW] = {"submit-ios.pl", NODE_IOVS, S_IFLNK | 0777},
};

static fuse_ino_t ino_of(uint64_t node)
{
	return INODE_VIRTUAL + node;
}

static int node_of(fuse_ino_t ino)
{
	uint64_t node = ino - INODE_VIRTUAL;

	return node < NODES ? (int)node : -ENOENT;
}

static int find_node(int parent, const char *name)
{
	for (int i = 0; i < NODES; i++) {
		if (nodes[i].parent == parent && strcmp(nodes[i].name, name) == 0)
			return i;
	}
	return -ENOENT;
}

bool virt_is_name(fuse_ino_t parent, const char *name)
{
	return parent == FUSE_ROOT_ID && strcmp(name, USRBIO_VIRT_DIR) == 0;
}

static const char *submit_path(const struct fs *fs, int node)
{
	static const enum priority priorities[] = {PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_LOW};

	return rings_semaphore_path(fs->rings, priorities[node - NODE_SUBMIT]);
}

static void node_stat(const struct fs *fs, int node, struct stat *st)
{
	*st = (struct stat){.st_ino = ino_of((uint64_t)node), .st_mode = nodes[node].mode, .st_nlink = 1};
	if (S_ISDIR(st->st_mode))
		st->st_nlink = 2;
	else
		st->st_size = (off_t)strlen(submit_path(fs, node));
}

static void iov_stat(const struct iov *iov, struct stat *st)
{
	*st = (struct stat){.st_ino = ino_of(FIRST_KEY_NODE + iov->serial),
			    .st_mode = S_IFLNK | 0777,
			    .st_nlink = 1,
			    .st_uid = iov->owner.uid,
			    .st_gid = iov->owner.gid,
			    .st_size = (off_t)strlen(iov->target),
			    .st_ctim.tv_sec = iov->created,
			    .st_mtim.tv_sec = iov->created};
}

/* Never kept by the kernel: what a user may see of the keys is decided here each time. */
static void reply_iov(struct fs *fs, fuse_req_t req, struct iov *iov)
{
	struct fuse_entry_param entry = {0};

	iov_stat(iov, &entry.attr);
	entry.ino = entry.attr.st_ino;
	iov_put(iov);
	reply_entry(fs, req, &entry);
}

void virt_lookup(struct fs *fs, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int dir = parent == FUSE_ROOT_ID ? NODE_ROOT : node_of(parent), node = find_node(dir, name), rc;
	struct fuse_entry_param entry = {0};
	struct iov *iov;

	if (node >= 0) {
		node_stat(fs, node, &entry.attr);
		entry.ino = entry.attr.st_ino;
		entry.attr_timeout = entry.entry_timeout = fs->config.attr_timeout_s;
		reply_entry(fs, req, &entry);
		return;
	}
	rc = dir == NODE_IOVS ? iovs_find(fs->iovs, name, fs_caller(req).uid, &iov) : -ENOENT;
	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_iov(fs, req, iov);
}

static struct iov *iov_of(struct fs *fs, fuse_ino_t ino)
{
	uint64_t node = ino - INODE_VIRTUAL;

	return node > FIRST_KEY_NODE ? iovs_node(fs->iovs, node - FIRST_KEY_NODE) : NULL;
}

void virt_getattr(struct fs *fs, fuse_req_t req, fuse_ino_t ino)
{
	int node = node_of(ino);
	struct iov *iov;
	struct stat st;

	if (node >= 0) {
		node_stat(fs, node, &st);
		reply_attr(fs, req, &st, fs->config.attr_timeout_s);
		return;
	}
	iov = iov_of(fs, ino);
	if (!iov) {
		reply_err(fs, req, ENOENT);
		return;
	}
	iov_stat(iov, &st);
	iov_put(iov);
	reply_attr(fs, req, &st, 0);
}

void virt_readlink(struct fs *fs, fuse_req_t req, fuse_ino_t ino)
{
	int node = node_of(ino);
	struct iov *iov;

	if (node >= NODE_SUBMIT) {
		reply_readlink(fs, req, submit_path(fs, node));
		return;
	}
	iov = iov_of(fs, ino);
	if (!iov) {
		reply_err(fs, req, node >= 0 ? EINVAL : ENOENT);
		return;
	}
	reply_readlink(fs, req, iov->target);
	iov_put(iov);
}

void virt_symlink(struct fs *fs, fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct caller caller = fs_caller(req);
	struct iov *iov;
	int rc = -EPERM;

	if (node_of(parent) == NODE_IOVS)
		rc = find_node(NODE_IOVS, name) >= 0 ? -EEXIST : registration_add(fs, name, target, &caller, &iov);
	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_iov(fs, req, iov);
}

void virt_unlink(struct fs *fs, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int rc = -EPERM;

	if (fs->config.read_only)
		rc = -EROFS;
	else if (node_of(parent) == NODE_IOVS && find_node(NODE_IOVS, name) < 0)
		rc = registration_remove(fs, name, fs_caller(req).uid);
	reply_err(fs, req, -rc);
}

void virt_opendir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int node = node_of(ino), rc;

	if (node < 0 || !S_ISDIR(nodes[node].mode)) {
		reply_err(fs, req, ENOTDIR);
		return;
	}
	/* Who opened it decides what goes away when it is closed. */
	rc = handle_opendir(fs, NULL, fs_caller(req).pid, fi);
	if (rc)
		reply_err(fs, req, -rc);
	else
		reply_open(fs, req, ino, fi, handle_closedir);
}

void virt_releasedir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	pid_t pid = ((struct dirhandle *)fi->fh)->pid;

	handle_closedir(fs, ino, fi->fh);
	if (node_of(ino) == NODE_IOVS)
		registration_remove_pid(fs, pid);
	fuse_reply_err(req, 0);
}

/* ---------------------------------------------------------------- listing */

/* An entry's offset is its position in the list of fixed nodes plus one, or the number of its key's node. */
struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, used;
};

static int list_entry(struct listing *l, const char *name, const struct stat *st, off_t off)
{
	size_t room = l->size - l->used, need = fuse_add_direntry(l->req, l->buf + l->used, room, name, st, off);

	if (need > room)
		return 1;
	l->used += need;
	return 0;
}

static int list_key(const struct iov *iov, void *arg)
{
	struct stat st;

	iov_stat(iov, &st);
	return list_entry(arg, iov->name, &st, (off_t)(FIRST_KEY_NODE + iov->serial));
}

static int list_fixed(struct fs *fs, struct listing *l, int dir, off_t off)
{
	for (int i = (int)off; i < NODES; i++) {
		struct stat st;

		if (nodes[i].parent != dir)
			continue;
		node_stat(fs, i, &st);
		if (list_entry(l, nodes[i].name, &st, i + 1))
			return 1;
	}
	return 0;
}

void virt_readdir(struct fs *fs, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
	struct listing l = {.req = req, .buf = malloc(size), .size = size};
	int dir = node_of(ino), full = 0;

	if (!l.buf) {
		reply_err(fs, req, ENOMEM);
		return;
	}
	if (off < NODES)
		full = list_fixed(fs, &l, dir, off);
	if (!full && dir == NODE_IOVS)
		iovs_each(fs->iovs, fs_caller(req).uid, off > FIRST_KEY_NODE ? (uint64_t)off - FIRST_KEY_NODE : 0,
			  list_key, &l);
	fuse_reply_buf(req, l.buf, l.used);
	free(l.buf);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "inode.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	BUCKETS = 4096,
	ROOT_NODE = 1, /* FUSE_ROOT_ID */
};

/* Numbers for backing files that cannot keep their own: on another file system than the root's, or too low or high. */
#define FOREIGN (1ull << 61)

struct inodes {
	pthread_mutex_t lock;
	struct inode *buckets[BUCKETS];
	dev_t root_dev;
};

static void inode_free(struct inode *inode)
{
	if (inode->read_fd >= 0)
		close(inode->read_fd);
	if (inode->write_fd >= 0)
		close(inode->write_fd);
	close(inode->fd);
	free(inode);
}

static struct inode *inode_new(int fd, uint64_t ino, const struct stat *st)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->ino = ino;
	inode->dev = st->st_dev;
	inode->backing_ino = st->st_ino;
	inode->fd = fd;
	inode->read_fd = inode->write_fd = -1;
	inode->lookups = 1;
	inode->stat = *st;
	return inode;
}

static struct inode **slot_of(struct inodes *t, uint64_t ino)
{
	struct inode **p = &t->buckets[ino % BUCKETS];

	while (*p && (*p)->ino != ino)
		p = &(*p)->next;
	return p;
}

struct inodes *inodes_new(int root_fd)
{
	struct inodes *t = calloc(1, sizeof(*t));
	struct inode *root;
	struct stat st;

	if (!t || fstat(root_fd, &st) || !(root = inode_new(root_fd, ROOT_NODE, &st))) {
		free(t);
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->root_dev = st.st_dev;
	*slot_of(t, ROOT_NODE) = root;
	return t;
}

void inodes_free(struct inodes *t)
{
	if (!t)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		while (t->buckets[i]) {
			struct inode *inode = t->buckets[i];

			t->buckets[i] = inode->next;
			inode_free(inode);
		}
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct inode *inodes_node(struct inodes *t, uint64_t ino)
{
	struct inode *inode;

	pthread_mutex_lock(&t->lock);
	inode = *slot_of(t, ino);
	pthread_mutex_unlock(&t->lock);
	return inode;
}

struct inode *inodes_hold(struct inodes *t, uint64_t ino)
{
	struct inode *inode;

	pthread_mutex_lock(&t->lock);
	inode = *slot_of(t, ino);
	if (inode)
		inode->lookups++;
	pthread_mutex_unlock(&t->lock);
	return inode;
}

static uint64_t preferred_number(const struct inodes *t, dev_t dev, ino_t ino)
{
	if (dev == t->root_dev && ino > ROOT_NODE && ino < FOREIGN)
		return ino;
	return FOREIGN | (((uint64_t)dev << 40 ^ (uint64_t)ino * 0x9e3779b97f4a7c15ull) & (FOREIGN - 1));
}

/* Where the backing file is, or would go: the first number from the preferred one on that is its own or free. */
static struct inode **place_of(struct inodes *t, const struct stat *st, uint64_t *ino)
{
	struct inode **p;

	*ino = preferred_number(t, st->st_dev, st->st_ino);
	while (*(p = slot_of(t, *ino)) && ((*p)->backing_ino != st->st_ino || (*p)->dev != st->st_dev))
		++*ino;
	return p;
}

void inodes_renumber(struct inodes *t, struct stat *st)
{
	uint64_t ino;

	pthread_mutex_lock(&t->lock);
	place_of(t, st, &ino);
	pthread_mutex_unlock(&t->lock);
	st->st_ino = ino;
}

int inodes_lookup(struct inodes *t, const struct inode *parent, const char *name, struct stat *st, struct inode **out)
{
	int fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	struct inode **place, *inode;
	uint64_t ino;

	if (fd < 0)
		return -errno;
	if (fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	pthread_mutex_lock(&t->lock);
	place = place_of(t, st, &ino);
	inode = *place;
	if (inode) {
		inode->lookups++;
		close(fd);
	} else {
		inode = inode_new(fd, ino, st);
		*place = inode;
	}
	pthread_mutex_unlock(&t->lock);
	if (!inode) {
		close(fd);
		return -ENOMEM;
	}
	st->st_ino = ino;
	*out = inode;
	return 0;
}

/* With the lock held: nobody refers to it any more? Then it leaves the table, and is freed. */
static void drop_if_unused(struct inodes *t, struct inode *inode)
{
	struct inode **place = slot_of(t, inode->ino);

	if (inode->lookups || inode->opens || inode->ios || inode->ino == ROOT_NODE)
		return;
	*place = inode->next;
	inode_free(inode);
}

void inodes_forget(struct inodes *t, uint64_t ino, uint64_t lookups)
{
	struct inode *inode;

	pthread_mutex_lock(&t->lock);
	inode = *slot_of(t, ino);
	if (inode) {
		inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
		drop_if_unused(t, inode);
	}
	pthread_mutex_unlock(&t->lock);
}

int inode_reopen(const struct inode *inode, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", inode->fd);
	fd = open(path, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void inodes_opened(struct inodes *t, struct inode *inode)
{
	struct stat st;
	bool known = fstatat(inode->fd, "", &st, AT_EMPTY_PATH) == 0;

	pthread_mutex_lock(&t->lock);
	if (known)
		inode->stat = st;
	inode->opens++;
	pthread_mutex_unlock(&t->lock);
}

/* The fds for requests live as long as somebody has the file open or a request runs. */
static void close_io_fds(struct inode *inode)
{
	if (inode->opens || inode->ios)
		return;
	if (inode->read_fd >= 0)
		close(inode->read_fd);
	if (inode->write_fd >= 0)
		close(inode->write_fd);
	inode->read_fd = inode->write_fd = -1;
}

void inodes_closed(struct inodes *t, struct inode *inode)
{
	pthread_mutex_lock(&t->lock);
	inode->opens--;
	close_io_fds(inode);
	drop_if_unused(t, inode);
	pthread_mutex_unlock(&t->lock);
}

/* By the classes of the mode; a user's further groups are not known here. */
static bool permitted(const struct stat *st, bool for_write, uid_t uid, gid_t gid)
{
	mode_t bit = for_write ? S_IWOTH : S_IROTH;

	if (uid == 0)
		return true;
	if (uid == st->st_uid)
		return st->st_mode & bit << 6;
	return st->st_mode & (gid == st->st_gid ? bit << 3 : bit);
}

static int io_open(struct inode *inode, bool for_write)
{
	int *fd = for_write ? &inode->write_fd : &inode->read_fd;
	int opened;

	if (*fd >= 0)
		return 0;
	opened = inode_reopen(inode, for_write ? O_WRONLY : O_RDONLY);
	if (opened < 0)
		return opened;
	*fd = opened;
	return 0;
}

int inodes_io_begin(struct inodes *t, uint64_t ino, bool for_write, uid_t uid, gid_t gid, struct inode **out)
{
	struct inode *inode;
	int rc = -EBADF;

	pthread_mutex_lock(&t->lock);
	inode = *slot_of(t, ino);
	if (inode && inode->opens && S_ISREG(inode->stat.st_mode))
		rc = permitted(&inode->stat, for_write, uid, gid) ? io_open(inode, for_write) : -EACCES;
	if (rc == 0) {
		inode->ios++;
		*out = inode;
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

void inodes_io_end(struct inodes *t, struct inode *inode)
{
	pthread_mutex_lock(&t->lock);
	inode->ios--;
	close_io_fds(inode);
	drop_if_unused(t, inode);
	pthread_mutex_unlock(&t->lock);
}

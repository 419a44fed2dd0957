/* SPDX-License-Identifier: Apache-2.0 */
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum kind {
	KIND_ERR,
	KIND_ENTRY,
	KIND_ATTR,
	KIND_OPEN,
	KIND_CREATE,
	KIND_READLINK,
};

struct reply {
	struct timer_event event;
	struct fs *fs;
	fuse_req_t req;
	enum kind kind;
	int err;
	double timeout_s;
	fuse_ino_t ino;
	void (*undo)(struct fs *fs, fuse_ino_t ino, uint64_t fh);
	struct fuse_file_info fi;
	union {
		struct fuse_entry_param entry;
		struct stat st;
	};
	char *text;
};

static void undo(const struct reply *r)
{
	if (r->undo)
		r->undo(r->fs, r->ino, r->fi.fh);
}

static void send_now(const struct reply *r)
{
	int rc = 0;

	switch (r->kind) {
	case KIND_ERR:
		fuse_reply_err(r->req, r->err);
		break;
	case KIND_ENTRY:
		fuse_reply_entry(r->req, &r->entry);
		break;
	case KIND_ATTR:
		fuse_reply_attr(r->req, &r->st, r->timeout_s);
		break;
	case KIND_OPEN:
		rc = fuse_reply_open(r->req, &r->fi);
		break;
	case KIND_CREATE:
		rc = fuse_reply_create(r->req, &r->entry, &r->fi);
		break;
	case KIND_READLINK:
		fuse_reply_readlink(r->req, r->text);
		break;
	}
	if (rc == -ENOENT)
		undo(r);
}

static void reply_free(struct reply *r)
{
	free(r->text);
	free(r);
}

static void fire(struct timer_event *ev)
{
	struct reply *r = (struct reply *)ev;

	send_now(r);
	reply_free(r);
}

/* The daemon ends: the kernel gives up the request by itself. */
static void drop(struct timer_event *ev)
{
	struct reply *r = (struct reply *)ev;

	undo(r);
	fuse_reply_none(r->req);
	reply_free(r);
}

static void reply(const struct reply *r)
{
	uint64_t latency_ns = r->fs->config.meta_latency_ns;
	struct reply *later = latency_ns ? malloc(sizeof(*later)) : NULL;

	if (later) {
		*later = *r;
		if (r->text && !(later->text = strdup(r->text))) {
			free(later);
			later = NULL;
		}
	}
	if (!later) {
		send_now(r);
		return;
	}
	later->event = (struct timer_event){.at_ns = fst3fs_now_ns() + latency_ns, .fire = fire, .drop = drop};
	timer_add(r->fs->storage->timer, &later->event);
}

void reply_err(struct fs *fs, fuse_req_t req, int err)
{
	reply(&(struct reply){.fs = fs, .req = req, .kind = KIND_ERR, .err = err});
}

void reply_entry(struct fs *fs, fuse_req_t req, const struct fuse_entry_param *entry)
{
	reply(&(struct reply){.fs = fs, .req = req, .kind = KIND_ENTRY, .entry = *entry});
}

void reply_attr(struct fs *fs, fuse_req_t req, const struct stat *st, double timeout_s)
{
	reply(&(struct reply){.fs = fs, .req = req, .kind = KIND_ATTR, .st = *st, .timeout_s = timeout_s});
}

void reply_open(struct fs *fs, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi,
		void (*undo_fn)(struct fs *fs, fuse_ino_t ino, uint64_t fh))
{
	reply(&(struct reply){.fs = fs, .req = req, .kind = KIND_OPEN, .ino = ino, .fi = *fi, .undo = undo_fn});
}

void reply_create(struct fs *fs, fuse_req_t req, const struct fuse_entry_param *entry, const struct fuse_file_info *fi,
		  void (*undo_fn)(struct fs *fs, fuse_ino_t ino, uint64_t fh))
{
	reply(&(struct reply){.fs = fs,
			      .req = req,
			      .kind = KIND_CREATE,
			      .entry = *entry,
			      .ino = entry->ino,
			      .fi = *fi,
			      .undo = undo_fn});
}

void reply_readlink(struct fs *fs, fuse_req_t req, const char *text)
{
	reply(&(struct reply){.fs = fs, .req = req, .kind = KIND_READLINK, .text = (char *)text});
}

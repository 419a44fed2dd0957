/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USRBIO through the client in this library: requests in a shared ring, bytes written by the daemon straight into
 * registered memory.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "io.h"
#include "usrbio.h"
#include "usrbio_errors.h"
#include "wire.h"

/* A finished request leaves the submission queue only when those before it have finished too. With room to spare for
 * such stragglers the queue is never full, and the daemon never short of room for completions, so that nobody has to be
 * woken for it. */
#define RING_SLACK 4

/* The registering thread and what is registered through it: shared by the ring and the regions, which may outlive it.
 */
struct link {
	struct usrbio_client *client;
	atomic_uint refs;
};

struct io_usrbio {
	struct fst3fs_io io;
	struct link *link;
	struct usrbio_ior *ring; /* NULL when it carries no requests */
};

struct region_usrbio {
	struct fst3fs_region region;
	struct link *link;
	struct usrbio_iov *iov;
};

static void link_put(struct link *link, uint64_t deadline_ns)
{
	if (atomic_fetch_sub(&link->refs, 1) != 1)
		return;
	usrbio_client_close(link->client, deadline_ns);
	free(link);
}

static int usrbio_open(const struct fst3fs_io_config *config, struct fst3fs_io **out, struct fst3fs_error *err)
{
	struct io_usrbio *u = calloc(1, sizeof(*u));
	struct link *link = calloc(1, sizeof(*link));
	int rc = u && link ? 0 : fst3fs_err_set(err, -ENOMEM, "no memory for a transport");

	if (rc == 0)
		rc = usrbio_client_open(config->mount_point, config->timeout_ms, &link->client, err);
	if (rc < 0)
		goto out_free;
	link->refs = 1;
	if (config->entries > 0) {
		/* A hole is weights that were never written: an error, not zeros. */
		rc = usrbio_ior_create(link->client, config->entries * RING_SLACK, USRBIO_RING_HOLE_IS_ERROR, &u->ring,
				       err);
		if (rc < 0)
			goto out_link;
		fst3fs_waker_lend(config->waker, usrbio_ior_semaphore(u->ring));
	}
	u->io.ops = &fst3fs_io_usrbio;
	u->link = link;
	*out = &u->io;
	return 0;
out_link:
	link_put(link, 0);
	link = NULL;
out_free:
	free(link);
	free(u);
	return rc;
}

static void usrbio_close(struct fst3fs_io *io, bool given_up, uint64_t deadline_ns)
{
	struct io_usrbio *u = (struct io_usrbio *)io;

	(void)given_up; /* the daemon's mapping is its own: what is still in flight writes into nothing of ours */
	if (u->ring)
		usrbio_ior_destroy(u->ring);
	link_put(u->link, deadline_ns);
	free(u);
}

static const char *usrbio_client_name(const struct fst3fs_io *io)
{
	(void)io;
	return "built-in";
}

static int usrbio_region_new(struct fst3fs_io *io, size_t size, size_t block_size, int numa, struct fst3fs_region **out,
			     struct fst3fs_error *err)
{
	struct io_usrbio *u = (struct io_usrbio *)io;
	struct region_usrbio *region = calloc(1, sizeof(*region));
	int rc;

	if (!region)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a buffer");
	rc = usrbio_iov_create(u->link->client, size, block_size, numa, &region->iov, err);
	if (rc < 0) {
		free(region);
		return rc;
	}
	atomic_fetch_add(&u->link->refs, 1);
	region->link = u->link;
	region->region = (struct fst3fs_region){
		.ops = &fst3fs_io_usrbio,
		.base = region->iov->base,
		.size = region->iov->size,
		.huge = region->iov->huge,
		.block = region->iov->block_size,
	};
	*out = &region->region;
	return 0;
}

static void usrbio_region_free(struct fst3fs_region *r)
{
	struct region_usrbio *region = (struct region_usrbio *)r;

	usrbio_iov_destroy(region->iov);
	link_put(region->link, 0);
	free(region);
}

static int usrbio_start(struct fst3fs_io *io, struct fst3fs_io_req *req)
{
	struct io_usrbio *u = (struct io_usrbio *)io;
	const struct region_usrbio *region = (const struct region_usrbio *)req->region;

	return usrbio_ior_prep(u->ring, region->iov, (uint64_t)((uint8_t *)req->buf - region->region.base),
			       req->file->ino, req->offset, req->length, (uint64_t)(uintptr_t)req);
}

static void usrbio_flush(struct fst3fs_io *io)
{
	usrbio_ior_submit(((struct io_usrbio *)io)->ring);
}

static int usrbio_reap(struct fst3fs_io *io, struct fst3fs_io_req **out, int max)
{
	struct usrbio_result results[64];
	int n = usrbio_ior_reap(((struct io_usrbio *)io)->ring, results, max < 64 ? max : 64);

	for (int i = 0; i < n; i++) {
		/* The ring returns the userdata that was put in, whatever the daemon wrote. */
		out[i] = (struct fst3fs_io_req *)(uintptr_t)results[i].userdata;
		out[i]->result = results[i].result;
	}
	return n;
}

static int usrbio_probe(struct fst3fs_io *io)
{
	struct io_usrbio *u = (struct io_usrbio *)io;

	return usrbio_client_probe(u->link->client, usrbio_ior_semaphore(u->ring));
}

const struct fst3fs_io_ops fst3fs_io_usrbio = {
	.size = sizeof(struct fst3fs_io_ops),
	.name = "usrbio",
	.descr = "3FS USRBIO, built-in client",
	.open = usrbio_open,
	.close = usrbio_close,
	.client = usrbio_client_name,
	.region_new = usrbio_region_new,
	.region_free = usrbio_region_free,
	.start = usrbio_start,
	.flush = usrbio_flush,
	.reap = usrbio_reap,
	.probe = usrbio_probe,
	.explain = fst3fs_usrbio_explain,
};

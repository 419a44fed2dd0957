/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USRBIO through the official library: for those whose daemon speaks a newer protocol than the client in this library,
 * or who want the two to come from one place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "io.h"
#include "sdk_lib.h"
#include "sdk_made.h"
#include "usrbio_errors.h"

/* Room for requests that have finished but wait for those before them, as in io_usrbio.c. */
#define RING_SLACK 4

/* What ring and regions share; the regions may outlive the transport. */
struct link {
	struct fst3fs_sdk_place place;
	atomic_uint refs;
};

struct io_sdk {
	struct fst3fs_io io;
	struct link *link;
	struct fst3fs_sdk_ring *ring; /* NULL when it carries no requests */
	/* By the userdata of a request, because what comes back lies in memory that another process writes. */
	struct fst3fs_io_req **requests;
	uint32_t *idle; /* places in `requests` that are free */
	uint32_t idle_count, entries;
};

struct region_sdk {
	struct fst3fs_region region;
	struct link *link;
	struct fst3fs_sdk_buffer *buffer;
};

/* ------------------------------------------------------------------ life */

static void link_put(struct link *link, uint64_t deadline_ns)
{
	if (atomic_fetch_sub(&link->refs, 1) != 1)
		return;
	usrbio_client_close(link->place.client, deadline_ns);
	free(link);
}

static int link_new(const struct fst3fs_io_config *config, struct link **out, struct fst3fs_error *err)
{
	struct link *link = calloc(1, sizeof(*link));
	int rc;

	if (!link)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a transport");
	rc = fst3fs_sdk_load(config->sdk_path, &link->place.sdk, err);
	if (rc == 0 && strlen(config->mount_point) >= sizeof(link->place.mount))
		rc = fst3fs_err_set(err, -ENAMETOOLONG, "the official library takes mount points of %zu bytes at most",
				    sizeof(link->place.mount) - 1);
	if (rc == 0)
		rc = usrbio_client_open(config->mount_point, config->timeout_ms, &link->place.client, err);
	if (rc < 0) {
		free(link);
		return rc;
	}
	strcpy(link->place.mount, config->mount_point);
	link->place.timeout_ms = config->timeout_ms;
	link->refs = 1;
	*out = link;
	return 0;
}

static int make_ring(struct io_sdk *s, const struct fst3fs_io_config *config, struct fst3fs_error *err)
{
	s->entries = (uint32_t)config->entries;
	s->requests = calloc(s->entries, sizeof(struct fst3fs_io_req *));
	s->idle = calloc(s->entries, sizeof(*s->idle));
	if (!s->requests || !s->idle)
		return fst3fs_err_set(err, -ENOMEM, "no memory for %u requests", s->entries);
	for (uint32_t i = 0; i < s->entries; i++)
		s->idle[s->idle_count++] = i;
	return fst3fs_sdk_ring_new(&s->link->place, config->entries * RING_SLACK, &s->ring, err);
}

static void sdk_close(struct fst3fs_io *io, bool given_up, uint64_t deadline_ns)
{
	struct io_sdk *s = (struct io_sdk *)io;

	(void)given_up; /* the daemon's mapping is its own: what is still in flight writes into nothing of ours */
	if (s->ring) {
		usrbio_client_unnotify(s->link->place.client, s->ring->done);
		fst3fs_sdk_ring_free(s->ring);
	}
	link_put(s->link, deadline_ns);
	free(s->requests);
	free(s->idle);
	free(s);
}

static int sdk_open(const struct fst3fs_io_config *config, struct fst3fs_io **out, struct fst3fs_error *err)
{
	struct io_sdk *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a transport");
	s->io.ops = &fst3fs_io_sdk;
	rc = link_new(config, &s->link, err);
	if (rc < 0) {
		free(s);
		return rc;
	}
	if (config->entries > 0)
		rc = make_ring(s, config, err);
	if (rc < 0) {
		sdk_close(&s->io, false, 0);
		return rc;
	}
	if (s->ring)
		fst3fs_waker_lend(config->waker, s->ring->done);
	*out = &s->io;
	return 0;
}

static const char *sdk_client(const struct fst3fs_io *io)
{
	return ((const struct io_sdk *)io)->link->place.sdk->path;
}

/* ------------------------------------------------------------------ buffers */

static int sdk_region_new(struct fst3fs_io *io, size_t size, size_t block_size, int numa, struct fst3fs_region **out,
			  struct fst3fs_error *err)
{
	struct io_sdk *s = (struct io_sdk *)io;
	struct region_sdk *region = calloc(1, sizeof(*region));
	int rc;

	if (!region)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a buffer");
	rc = fst3fs_sdk_buffer_new(&s->link->place, size, block_size, numa, &region->buffer, err);
	if (rc < 0) {
		free(region);
		return rc;
	}
	atomic_fetch_add(&s->link->refs, 1);
	region->link = s->link;
	region->region = (struct fst3fs_region){
		.ops = &fst3fs_io_sdk,
		.base = region->buffer->iov.base,
		.size = region->buffer->size,
		.block = region->buffer->block_size,
	};
	*out = &region->region;
	return 0;
}

static void sdk_region_free(struct fst3fs_region *r)
{
	struct region_sdk *region = (struct region_sdk *)r;

	fst3fs_sdk_buffer_free(region->buffer);
	link_put(region->link, 0);
	free(region);
}

/* ------------------------------------------------------------------ files */

/* The library's result is minus the number of a copy of the fd, or a positive errno. */
static int register_fd(const struct fst3fs_sdk *sdk, int fd)
{
	int rc = sdk->reg_fd(fd, 0);

	/* The number is registered although the file is new to us: somebody closed a file of that number without a
	 * word to the library, which would read the old one. */
	if (rc == EINVAL) {
		sdk->dereg_fd(fd);
		rc = sdk->reg_fd(fd, 0);
	}
	if (rc <= 0)
		fcntl(-rc, F_SETFD, FD_CLOEXEC); /* the copy would go to every program that this one starts */
	return rc;
}

static int sdk_file_open(const char *sdk_path, struct fst3fs_io_file *file, struct fst3fs_error *err)
{
	const struct fst3fs_sdk *sdk;
	int rc = fst3fs_sdk_load(sdk_path, &sdk, err);

	if (rc < 0)
		return rc;
	rc = register_fd(sdk, file->fd);
	/* The library says the same of a file that it could not ask. */
	if (rc == EBADF && usrbio_fd_is_3fs(file->fd) == 0)
		return 0; /* not on 3FS, and so nothing that is read through the library */
	if (rc > 0)
		return fst3fs_err_set(err, -rc, "%s refused to register the file: %s", sdk->path, fst3fs_strerror(rc));
	file->priv = (void *)sdk;
	return 0;
}

static void sdk_file_close(struct fst3fs_io_file *file)
{
	const struct fst3fs_sdk *sdk = file->priv;

	if (sdk)
		sdk->dereg_fd(file->fd);
	file->priv = NULL;
}

/* ------------------------------------------------------------------ requests */

static int sdk_start(struct fst3fs_io *io, struct fst3fs_io_req *req)
{
	struct io_sdk *s = (struct io_sdk *)io;
	const struct region_sdk *region = (const struct region_sdk *)req->region;
	uint32_t place;
	int rc;

	if (s->idle_count == 0)
		return -EAGAIN;
	place = s->idle[s->idle_count - 1];
	rc = s->link->place.sdk->prep_io(&s->ring->ior, &region->buffer->iov, true, req->buf, req->file->fd,
					 req->offset, req->length, (const void *)(uintptr_t)(place + 1));
	if (rc < 0)
		return rc;
	s->idle_count--;
	s->requests[place] = req;
	return 0;
}

static void sdk_flush(struct fst3fs_io *io)
{
	struct io_sdk *s = (struct io_sdk *)io;

	s->link->place.sdk->submit_ios(&s->ring->ior);
}

/* The request that a completion speaks of, or NULL. */
static struct fst3fs_io_req *take(struct io_sdk *s, const struct hf3fs_cqe *cqe)
{
	uintptr_t number = (uintptr_t)cqe->userdata;
	struct fst3fs_io_req *req;

	if (number == 0 || number > s->entries || !s->requests[number - 1])
		return NULL;
	req = s->requests[number - 1];
	if (cqe->result > (int64_t)req->length)
		return NULL;
	s->requests[number - 1] = NULL;
	s->idle[s->idle_count++] = (uint32_t)number - 1;
	/* Not an errno: some other failure, and no less one. */
	req->result = cqe->result < -4095 ? -EIO : cqe->result;
	return req;
}

static int sdk_reap(struct fst3fs_io *io, struct fst3fs_io_req **out, int max)
{
	/* Long past: the library looks and returns. Without a time at all it could wait for ever. */
	static const struct timespec past = {0};
	struct io_sdk *s = (struct io_sdk *)io;
	struct hf3fs_cqe cqes[64];
	int n = s->link->place.sdk->wait_for_ios(&s->ring->ior, cqes, max < 64 ? max : 64, 0, &past);

	for (int i = 0; i < n; i++) {
		out[i] = take(s, &cqes[i]);
		if (!out[i])
			return -EPROTO;
	}
	return n;
}

static int sdk_probe(struct fst3fs_io *io)
{
	struct io_sdk *s = (struct io_sdk *)io;

	return usrbio_client_probe(s->link->place.client, s->ring->done);
}

const struct fst3fs_io_ops fst3fs_io_sdk = {
	.size = sizeof(struct fst3fs_io_ops),
	.name = "sdk",
	.descr = "3FS USRBIO, official library",
	.open = sdk_open,
	.close = sdk_close,
	.client = sdk_client,
	.region_new = sdk_region_new,
	.region_free = sdk_region_free,
	.start = sdk_start,
	.flush = sdk_flush,
	.reap = sdk_reap,
	.file_open = sdk_file_open,
	.file_close = sdk_file_close,
	.probe = sdk_probe,
	.explain = fst3fs_usrbio_explain,
};

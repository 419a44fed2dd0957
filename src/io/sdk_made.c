/* SPDX-License-Identifier: Apache-2.0 */
#include "sdk_made.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "explain.h"
#include "key.h"
#include "shm.h"
#include "wire.h"

/* Every request is a job of its own, and completes alone; a hole is weights that were never written. */
static const struct usrbio_ring_attr ring_attr = {
	.for_read = true,
	.io_depth = 1,
	.flags = USRBIO_RING_HOLE_IS_ERROR,
};

enum { LINK_SIZE = 256 + sizeof(USRBIO_IOVS_DIR) + USRBIO_KEY_SIZE + 2 };

static void link_path(char out[LINK_SIZE], const struct fst3fs_sdk_place *place, const char *key)
{
	snprintf(out, LINK_SIZE, "%s/" USRBIO_IOVS_DIR "/%s", place->mount, key);
}

/* Runs `task`, which is not the caller's any more unless the result is 0. */
static int make(const struct fst3fs_sdk_place *place, struct usrbio_task *task, const struct fst3fs_error *text,
		struct fst3fs_error *err)
{
	int rc = usrbio_client_run(place->client, &task);

	if (rc == 0)
		return 0;
	if (task && text && text->code && err)
		*err = *text;
	else
		usrbio_explain_link(err, place->mount, rc, place->timeout_ms);
	if (task)
		usrbio_client_end(place->client, task);
	return rc;
}

/* ------------------------------------------------------------------ rings */

static int ring_run(struct usrbio_task *task)
{
	struct fst3fs_sdk_ring *ring = (struct fst3fs_sdk_ring *)task;

	return ring->place.sdk->iorcreate4(&ring->ior, ring->place.mount, ring->entries, ring_attr.for_read,
					   ring_attr.io_depth, ring_attr.timeout_ms, -1, ring_attr.flags);
}

static void ring_end(struct usrbio_task *task)
{
	struct fst3fs_sdk_ring *ring = (struct fst3fs_sdk_ring *)task;
	char key[USRBIO_KEY_SIZE], path[LINK_SIZE];

	if (ring->ior.iorh) {
		usrbio_key_ring(key, (const uint8_t *)ring->ior.iov.id, &ring_attr);
		link_path(path, &ring->place, key);
		ring->place.sdk->iordestroy(&ring->ior);
		/* The library looks for a ring with flags under another name than it gave it. */
		unlink(path);
	}
	free(ring);
}

/* Where the wire layout has the semaphore; NULL when the library's ring is none that is known here. */
static sem_t *find_semaphore(const struct hf3fs_ior *ior, int entries)
{
	const size_t slots = (size_t)entries + 1;

	if (!ior->iov.base || ior->iov.size != USRBIO_RING_FIXED + slots * USRBIO_SLOT_BYTES)
		return NULL;
	return (sem_t *)(void *)(ior->iov.base + sizeof(struct usrbio_ring_header) + slots * USRBIO_SLOT_BYTES);
}

int fst3fs_sdk_ring_new(const struct fst3fs_sdk_place *place, int entries, struct fst3fs_sdk_ring **out,
			struct fst3fs_error *err)
{
	struct fst3fs_sdk_ring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (!ring)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a ring's record");
	ring->task.run = ring_run;
	ring->task.end = ring_end;
	ring->place = *place;
	ring->entries = entries;
	rc = make(place, &ring->task, NULL, err);
	if (rc < 0)
		return rc;
	ring->done = find_semaphore(&ring->ior, entries);
	if (!ring->done) {
		fst3fs_sdk_ring_free(ring);
		return fst3fs_err_set(err, -ELIBBAD, "%s: its ring has another layout", place->sdk->path);
	}
	*out = ring;
	return 0;
}

void fst3fs_sdk_ring_free(struct fst3fs_sdk_ring *ring)
{
	usrbio_client_end(ring->place.client, &ring->task);
}

/* ------------------------------------------------------------------ buffers */

/* The library makes objects that everybody may read, reserves no space for them, and keeps their names. */
static int secure(struct fst3fs_sdk_buffer *buffer)
{
	char key[USRBIO_KEY_SIZE], path[LINK_SIZE], target[USRBIO_SHM_PATH_SIZE];
	ssize_t n;
	int rc;

	usrbio_key_buffer(key, (const uint8_t *)buffer->iov.id, buffer->block_size);
	link_path(path, &buffer->place, key);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return fst3fs_err_set(&buffer->err, -errno, "%s: %s", path, fst3fs_strerror(errno));
	target[n] = '\0';
	rc = usrbio_shm_secure(target, buffer->size, &buffer->err);
	buffer->place.sdk->iovunlink(&buffer->iov);
	return rc;
}

static int buffer_run(struct usrbio_task *task)
{
	struct fst3fs_sdk_buffer *buffer = (struct fst3fs_sdk_buffer *)task;
	int rc = buffer->place.sdk->iovcreate(&buffer->iov, buffer->place.mount, buffer->size, buffer->block_size,
					      buffer->numa);

	return rc < 0 ? rc : secure(buffer);
}

static void buffer_end(struct usrbio_task *task)
{
	struct fst3fs_sdk_buffer *buffer = (struct fst3fs_sdk_buffer *)task;

	if (buffer->iov.iovh)
		buffer->place.sdk->iovdestroy(&buffer->iov);
	free(buffer);
}

int fst3fs_sdk_buffer_new(const struct fst3fs_sdk_place *place, size_t size, size_t block_size, int numa,
			  struct fst3fs_sdk_buffer **out, struct fst3fs_error *err)
{
	struct fst3fs_sdk_buffer *buffer = calloc(1, sizeof(*buffer));
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int rc;

	if (!buffer)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a buffer's record");
	buffer->task.run = buffer_run;
	buffer->task.end = buffer_end;
	buffer->place = *place;
	buffer->size = (size + page - 1) / page * page;
	buffer->block_size = block_size;
	buffer->numa = numa;
	rc = make(place, &buffer->task, &buffer->err, err);
	if (rc == 0)
		*out = buffer;
	return rc;
}

void fst3fs_sdk_buffer_free(struct fst3fs_sdk_buffer *buffer)
{
	usrbio_client_end(buffer->place.client, &buffer->task);
}

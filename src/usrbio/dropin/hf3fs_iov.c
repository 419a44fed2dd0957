/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "hf3fs_mounts.h"
#include "hf3fs_usrbio.h"
#include "iov.h"
#include "key.h"
#include "shm.h"

/* Behind hf3fs_iov.iovh: a buffer that we made, or one of another process that we mapped. */
struct handle {
	struct usrbio_iov *made; /* NULL = mapped */
	struct hf3fs_mount *mount;
	struct usrbio_shm mapped;
};

struct request {
	struct handle *handle;
	const uint8_t *id; /* of a buffer to open */
	struct usrbio_iov_attr attr;
};

_Static_assert(sizeof(struct hf3fs_iov) == 312, "ABI");
_Static_assert(offsetof(struct hf3fs_iov, id) == 16, "ABI");
_Static_assert(offsetof(struct hf3fs_iov, mount_point) == 32, "ABI");
_Static_assert(offsetof(struct hf3fs_iov, size) == 288, "ABI");
_Static_assert(offsetof(struct hf3fs_iov, block_size) == 296, "ABI");
_Static_assert(offsetof(struct hf3fs_iov, numa) == 304, "ABI");

static int describe(struct hf3fs_iov *iov, void *base, const uint8_t id[16], const char *mount, size_t size,
		    size_t block_size, int numa)
{
	*iov = (struct hf3fs_iov){.base = base, .size = size, .block_size = block_size, .numa = numa};
	if ((size_t)snprintf(iov->mount_point, sizeof(iov->mount_point), "%s", mount) >= sizeof(iov->mount_point))
		return -EINVAL;
	memcpy(iov->id, id, sizeof(iov->id));
	return 0;
}

static int make_buffer(struct hf3fs_mount *m, void *arg)
{
	struct request *req = arg;

	return usrbio_iov_create_attr(m->client, &req->attr, &req->handle->made, NULL);
}

int hf3fs_iovcreate(struct hf3fs_iov *iov, const char *mount, size_t size, size_t block_size, int numa)
{
	struct request req = {.attr = {.size = size, .block_size = block_size, .numa = numa, .lasting = true}};
	int rc;

	if (!iov || !mount)
		return -EINVAL;
	req.handle = calloc(1, sizeof(*req.handle));
	if (!req.handle)
		return -ENOMEM;
	rc = hf3fs_mount_use(mount, make_buffer, &req, &req.handle->mount);
	if (rc < 0) {
		free(req.handle);
		return rc;
	}
	describe(iov, req.handle->made->base, req.handle->made->id, mount, size, block_size, numa);
	iov->iovh = req.handle;
	return 0;
}

/* Maps what the registration of an id leads to. */
static int open_buffer(struct hf3fs_mount *m, void *arg)
{
	struct request *req = arg;
	char key[USRBIO_KEY_SIZE], path[USRBIO_SHM_PATH_SIZE];
	int rc;

	usrbio_key_buffer(key, req->id, req->attr.block_size);
	rc = usrbio_client_readlink(m->client, key, path, sizeof(path));
	return rc < 0 ? rc : usrbio_shm_open(&req->handle->mapped, path, req->attr.size);
}

int hf3fs_iovopen(struct hf3fs_iov *iov, const uint8_t id[16], const char *mount, size_t size, size_t block_size,
		  int numa)
{
	struct request req = {.id = id, .attr = {.size = size, .block_size = block_size}};
	struct hf3fs_mount *m;
	int rc;

	if (!iov || !id || !mount)
		return -EINVAL;
	req.handle = calloc(1, sizeof(*req.handle));
	if (!req.handle)
		return -ENOMEM;
	rc = hf3fs_mount_use(mount, open_buffer, &req, &m);
	if (rc < 0) {
		free(req.handle);
		return rc;
	}
	/* It is registered by its maker, so nothing here depends on the mount any more. */
	hf3fs_mount_put(m);
	describe(iov, req.handle->mapped.base, id, mount, size, block_size, numa);
	iov->iovh = req.handle;
	return 0;
}

int hf3fs_iovwrap(struct hf3fs_iov *iov, void *base, const uint8_t id[16], const char *mount, size_t size,
		  size_t block_size, int numa)
{
	if (!iov || !base || !id || !mount)
		return -EINVAL;
	return describe(iov, base, id, mount, size, block_size, numa);
}

void hf3fs_iovunlink(struct hf3fs_iov *iov)
{
	struct handle *handle = iov ? iov->iovh : NULL;

	if (!handle)
		return;
	if (handle->made)
		usrbio_iov_unlink(handle->made);
	else
		usrbio_shm_unlink(&handle->mapped);
}

void hf3fs_iovdestroy(struct hf3fs_iov *iov)
{
	struct handle *handle = iov ? iov->iovh : NULL;

	if (!handle)
		return;
	if (handle->made) {
		usrbio_iov_destroy(handle->made);
		hf3fs_mount_put(handle->mount);
	} else {
		usrbio_shm_unmap(&handle->mapped);
	}
	free(handle);
	iov->iovh = NULL;
	iov->base = NULL;
}

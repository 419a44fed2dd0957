/* SPDX-License-Identifier: Apache-2.0 */
#include "iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "shm.h"

struct iov {
	struct usrbio_iov pub; /* first: what callers hold is a pointer to it */
	struct usrbio_shm shm;
	struct usrbio_link *link;
	pid_t pid;
	bool lasting;
};

_Static_assert(sizeof(((struct usrbio_iov *)0)->key) >= USRBIO_UUID_SIZE + 2 + 20, "a buffer's key fits");

static struct iov *iov_of(struct usrbio_iov *pub)
{
	return (struct iov *)pub;
}

bool usrbio_range_ok(size_t size, size_t block_size, uint64_t off, uint64_t len)
{
	if (off > size || len > size - off)
		return false;
	return block_size == 0 || len == 0 || off / block_size == (off + len - 1) / block_size;
}

static void publish(struct iov *iov, struct usrbio_client *c, size_t block_size)
{
	char key[USRBIO_KEY_SIZE];

	usrbio_key_buffer(key, iov->shm.id, block_size);
	iov->pub = (struct usrbio_iov){.client = c,
				       .base = iov->shm.base,
				       .size = iov->shm.size,
				       .huge = iov->shm.huge,
				       .block_size = block_size};
	memcpy(iov->pub.id, iov->shm.id, sizeof(iov->pub.id));
	memcpy(iov->pub.key, key, sizeof(iov->pub.key) - 1);
}

static int iov_register(struct iov *iov, struct usrbio_client *c, const struct usrbio_iov_attr *attr,
			struct fst3fs_error *err)
{
	/* Children keep the mapping, as they keep all other memory: it may be a user's. */
	const struct usrbio_shm_attr shm = {.size = attr->size, .numa = attr->numa, .keep_fork = true};
	int rc = usrbio_shm_create(&iov->shm, &shm, err);

	if (rc < 0)
		return rc;
	publish(iov, c, attr->block_size);
	rc = usrbio_client_link(c, iov->pub.key, iov->shm.path, &iov->link, err);
	if (rc < 0 || !attr->lasting)
		usrbio_shm_unlink(&iov->shm);
	if (rc < 0)
		usrbio_shm_unmap(&iov->shm);
	return rc;
}

int usrbio_iov_create_attr(struct usrbio_client *c, const struct usrbio_iov_attr *attr, struct usrbio_iov **out,
			   struct fst3fs_error *err)
{
	struct iov *iov;
	int rc;

	if (attr->block_size > attr->size)
		return fst3fs_err_set(err, -EINVAL, "blocks of %zu bytes in a buffer of %zu", attr->block_size,
				      attr->size);
	iov = calloc(1, sizeof(*iov));
	if (!iov)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a buffer's record");
	iov->pid = getpid();
	iov->lasting = attr->lasting;
	rc = iov_register(iov, c, attr, err);
	if (rc < 0) {
		free(iov);
		return rc;
	}
	usrbio_client_hold(c);
	*out = &iov->pub;
	return 0;
}

int usrbio_iov_create(struct usrbio_client *c, size_t size, size_t block_size, int numa, struct usrbio_iov **out,
		      struct fst3fs_error *err)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct usrbio_iov_attr attr = {.block_size = block_size, .numa = numa};

	if (size > INT64_MAX - page)
		return fst3fs_err_set(err, -EINVAL, "a buffer of %zu bytes", size);
	attr.size = (size + page - 1) / page * page;
	return usrbio_iov_create_attr(c, &attr, out, err);
}

void usrbio_iov_unlink(struct usrbio_iov *pub)
{
	struct iov *iov = iov_of(pub);

	if (iov->pid == getpid())
		usrbio_shm_unlink(&iov->shm);
}

/* Modelled in tests/models/registrar.pml. */
void usrbio_iov_destroy(struct usrbio_iov *pub)
{
	struct iov *iov = iov_of(pub);

	if (!iov)
		return;
	if (iov->pid != getpid()) {
		usrbio_shm_unmap(&iov->shm);
		usrbio_link_forget(iov->link);
		free(iov);
		return;
	}
	usrbio_client_unlink(pub->client, iov->link, iov->lasting);
	usrbio_shm_unlink(&iov->shm);
	usrbio_shm_unmap(&iov->shm);
	usrbio_client_drop(pub->client);
	free(iov);
}

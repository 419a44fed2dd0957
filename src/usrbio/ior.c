/* SPDX-License-Identifier: Apache-2.0 */
#include "ior.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "iov.h"
#include "sharedsem.h"

static void ior_release(struct usrbio_ior *ior)
{
	if (ior->submit)
		sem_close(ior->submit);
	usrbio_ring_fini(&ior->ring);
	usrbio_shm_unlink(&ior->shm);
	usrbio_shm_unmap(&ior->shm);
	free(ior);
}

/* The object has exactly the ring's size: the daemon derives the number of slots from it. */
static int make_ring(struct usrbio_ior *ior, const struct usrbio_ior_attr *attr, struct fst3fs_error *err)
{
	const struct usrbio_shm_attr shm = {
		.size = usrbio_ring_size(attr->entries), .numa = attr->numa, .keep_fork = attr->lasting};
	int rc;

	if (shm.size == 0)
		return fst3fs_err_set(err, -EINVAL, "a ring for %d requests; it can be 1 to %d", attr->entries,
				      USRBIO_MAX_ENTRIES);
	rc = usrbio_shm_create(&ior->shm, &shm, err);
	if (rc < 0)
		return rc;
	rc = usrbio_ring_init(&ior->ring, ior->shm.base, ior->shm.size);
	return rc < 0 ? fst3fs_err_set(err, rc, "no memory for a ring's record") : 0;
}

static int ior_register(struct usrbio_ior *ior, const struct usrbio_ior_attr *attr, struct fst3fs_error *err)
{
	char key[USRBIO_KEY_SIZE];
	int rc = usrbio_client_submit_sem(ior->client, attr->ring.priority, &ior->submit, err);

	if (rc < 0)
		return rc;
	usrbio_key_ring(key, ior->shm.id, &attr->ring);
	rc = usrbio_client_link(ior->client, key, ior->shm.path, &ior->link, err);
	usrbio_shm_unlink(&ior->shm);
	return rc;
}

int usrbio_ior_create_attr(struct usrbio_client *c, const struct usrbio_ior_attr *attr, struct usrbio_ior **out,
			   struct fst3fs_error *err)
{
	struct usrbio_ior *ior = calloc(1, sizeof(*ior));
	int rc;

	if (!ior)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a ring's record");
	ior->client = c;
	ior->pid = getpid();
	ior->lasting = attr->lasting;
	rc = make_ring(ior, attr, err);
	if (rc == 0)
		rc = ior_register(ior, attr, err);
	if (rc < 0) {
		ior_release(ior);
		return rc;
	}
	usrbio_client_hold(c);
	*out = ior;
	return 0;
}

int usrbio_ior_create(struct usrbio_client *c, int entries, uint64_t flags, struct usrbio_ior **out,
		      struct fst3fs_error *err)
{
	const struct usrbio_ior_attr attr = {
		.ring = {.for_read = true, .io_depth = 1, .flags = flags},
		.entries = entries,
		.numa = -1,
	};

	return usrbio_ior_create_attr(c, &attr, out, err);
}

/* Modelled in tests/models/registrar.pml: once the thread has been told, no probe posts the ring's semaphore
 * (STILL_NOTIFIED). */
void usrbio_ior_destroy(struct usrbio_ior *ior)
{
	struct usrbio_client *c;

	if (!ior)
		return;
	c = ior->client;
	if (ior->pid != getpid()) {
		/* A mapping that was not inherited must be left alone: something else may lie there by now. */
		if (!ior->lasting)
			ior->shm.base = NULL;
		usrbio_link_forget(ior->link);
		ior_release(ior);
		return;
	}
	usrbio_client_unnotify(c, ior->ring.done);
	usrbio_client_unlink(c, ior->link, ior->lasting);
	ior_release(ior);
	usrbio_client_drop(c);
}

int usrbio_ior_prep(struct usrbio_ior *ior, const struct usrbio_iov *iov, uint64_t buf_off, uint64_t ino,
		    uint64_t file_off, uint64_t len, uint64_t userdata)
{
	struct usrbio_arg arg = {
		.buf_off = buf_off, .file_ino = ino, .file_off = file_off, .len = len, .userdata = userdata};
	int rc;

	if (!usrbio_range_ok(iov->size, iov->block_size, buf_off, len))
		return -EINVAL;
	memcpy(arg.buf_id, iov->id, sizeof(arg.buf_id));
	rc = usrbio_ring_prep(&ior->ring, &arg);
	if (rc < 0)
		return rc;
	ior->queued = true;
	return 0;
}

int usrbio_ior_wake(struct usrbio_ior *ior)
{
	if (fst3fs_sem_post_by_kernel(ior->submit) < 0)
		ior->deaf = true;
	return ior->deaf ? -EOWNERDEAD : 0;
}

int usrbio_ior_submit(struct usrbio_ior *ior)
{
	int rc = ior->queued ? usrbio_ior_wake(ior) : 0;

	ior->queued = false;
	return rc;
}

/* Modelled in tests/models/ring.pml. May the daemon have held requests back because their completions had no room? It
 * counts requests in work and completions not yet taken, and one that is just changing over may count twice; so never
 * in a ring less than half full, which is spared the wake-up. */
static bool may_be_held_back(struct usrbio_ior *ior, int taken)
{
	int left = usrbio_ring_outstanding(&ior->ring);

	return left > 0 && left + taken > (ior->ring.slots - 1) / 2;
}

int usrbio_ior_reap_cqes(struct usrbio_ior *ior, struct usrbio_cqe *out, int max)
{
	int n = usrbio_ring_reap(&ior->ring, out, max);

	if (n > 0 && may_be_held_back(ior, n))
		usrbio_ior_wake(ior);
	/* What is there is taken first; nothing more will come. */
	return n == 0 && ior->deaf ? -EOWNERDEAD : n;
}

/* Without waking the daemon: at io_depth 1 it holds a request back only when there is no room for its completion, and
 * what is queued, in process and unreaped are together no more than the completions that there is room for. */
int usrbio_ior_reap(struct usrbio_ior *ior, struct usrbio_result *out, int max)
{
	struct usrbio_cqe cqes[64];
	int n = ior->deaf ? -EOWNERDEAD : usrbio_ring_reap(&ior->ring, cqes, max < 64 ? max : 64);

	for (int i = 0; i < n; i++)
		out[i] = (struct usrbio_result){.result = cqes[i].result, .userdata = cqes[i].userdata};
	return n;
}

sem_t *usrbio_ior_semaphore(struct usrbio_ior *ior)
{
	return ior->ring.done;
}

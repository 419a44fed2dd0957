/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pool.h"

/* In this order: the host takes every address that nobody else claims. */
static const struct fst3fs_dev_ops *const dev_kinds[] = {&fst3fs_dev_cuda, &fst3fs_dev_host};

static int open_transports(struct fst3fs_session *s, const struct fst3fs_session_config *config,
			   struct fst3fs_error *err)
{
	struct fst3fs_io_config io = {
		.mount_point = config->mount_point,
		.sdk_path = config->sdk_path,
		.entries = (int)s->layout.window,
		.timeout_ms = config->timeout_ms,
		.waker = &s->waker,
	};
	struct stat st;
	int rc;

	if (config->main) {
		if (stat(config->mount_point, &st) != 0)
			return fst3fs_err_set(err, -errno, "mount point: %s", fst3fs_strerror(errno));
		s->mount_dev = st.st_dev;
		rc = config->main->open(&io, &s->main, err);
		if (rc < 0)
			return rc;
	}
	return fst3fs_io_posix.open(&io, &s->posix, err);
}

static int make_slots(struct fst3fs_session *s, struct fst3fs_error *err)
{
	struct fst3fs_io *io = s->main ? s->main : s->posix;
	uint64_t bytes = s->layout.piece * s->layout.slots;
	int rc = io->ops->region_new(io, bytes, s->layout.block, -1, &s->staging, err);

	if (rc < 0)
		return rc;
	s->slots = calloc(s->layout.slots, sizeof(*s->slots));
	if (!s->slots)
		return fst3fs_err_set(err, -ENOMEM, "no memory for %u slots", s->layout.slots);
	for (uint32_t i = s->layout.slots; i-- > 0;) {
		s->slots[i].staging = s->staging->base + i * s->layout.piece;
		fst3fs_slot_give(s, &s->slots[i]);
	}
	return 0;
}

int fst3fs_session_new(const struct fst3fs_session_config *config, struct fst3fs_session **out,
		       struct fst3fs_error *err)
{
	struct fst3fs_session *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a reader");
	fst3fs_waker_init(&s->waker);
	s->layout = config->layout;
	s->populator = config->populator;
	fst3fs_tuner_init(&s->tuner, s->layout.window, s->layout.piece);
	rc = open_transports(s, config, err);
	if (rc == 0)
		rc = make_slots(s, err);
	if (rc < 0) {
		fst3fs_session_free(s, false, 0);
		return rc;
	}
	*out = s;
	return 0;
}

/* Waits for the operating system's reads, then lets go of what they read into and post. Modelled in
 * tests/models/session.pml (UNMAPPED_BEFORE_THREADS, UNMAPPED_UNDER_COPIES). */
static void free_parts(struct fst3fs_session *s, bool given_up, uint64_t deadline_ns)
{
	if (s->posix)
		s->posix->ops->close(s->posix, given_up, deadline_ns);
	/* Copies that never ended are those of a GPU that has stopped answering: what it may still read stays mapped
	 * for ever. */
	if (s->staging && s->copying == 0)
		s->staging->ops->region_free(s->staging);
	if (s->main)
		s->main->ops->close(s->main, given_up, deadline_ns);
	for (uint32_t i = 0; s->slots && i < s->layout.slots; i++) {
		fst3fs_area_put(s->slots[i].held);
		/* With copies that never ended the device may still be reading the list. */
		if (s->copying == 0)
			free(s->slots[i].parts);
	}
	free(s->slots);
	fst3fs_waker_fini(&s->waker);
	free(s);
}

static void *free_later(void *arg)
{
	free_parts(arg, true, 0);
	return NULL;
}

void fst3fs_session_free(struct fst3fs_session *s, bool given_up, uint64_t deadline_ns)
{
	bool over = true;

	for (unsigned i = 0; i < s->ndevs; i++)
		over &= s->devs[i]->ops->close(s->devs[i], given_up && s->copying > 0);
	if (over)
		/* What ended while it was given up is reaped by nobody (tests/models/session.pml: ENDED_IS_STUCK). */
		s->copying = 0;
	if (s->reading_posix == 0)
		free_parts(s, given_up, deadline_ns);
	else
		/* Threads of this process hang in the kernel. Without a thread to wait for them all of it stays
		 * (tests/models/session.pml: FREED_ALWAYS_HERE). */
		fst3fs_thread_detach("fst3fs-end", free_later, s);
}

int fst3fs_session_device(struct fst3fs_session *s, uint64_t dst, struct fst3fs_dev **out, struct fst3fs_error *err)
{
	const struct fst3fs_dev_config config = {
		.staging = s->staging->base,
		.staging_size = s->staging->size,
		.waker = &s->waker,
		.populator = s->populator,
	};
	const struct fst3fs_dev_ops *ops = NULL;
	int rc = 0, ordinal = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(dev_kinds) / sizeof(dev_kinds[0]); i++) {
		ops = dev_kinds[i];
		rc = ops->match(dst, &ordinal, err);
	}
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < s->ndevs; i++) {
		if (s->devs[i]->ops == ops && s->devs[i]->ordinal == ordinal) {
			*out = s->devs[i];
			return 0;
		}
	}
	if (s->ndevs == FST3FS_MAX_DEVICES)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_DEVICE, -ENODEV, "more than %d devices in one reader",
					   FST3FS_MAX_DEVICES);
	rc = ops->open(ordinal, &config, &s->devs[s->ndevs], err);
	if (rc == 0)
		*out = s->devs[s->ndevs++];
	return rc;
}

int fst3fs_session_remark(struct fst3fs_session *s, char *line, size_t size)
{
	int level = 0;

	for (unsigned i = 0; level == 0 && i < s->ndevs; i++)
		if (s->devs[i]->ops->remark)
			level = s->devs[i]->ops->remark(s->devs[i], line, size);
	return level;
}

enum fst3fs_inside fst3fs_inside(const struct fst3fs_region *region, uint64_t address, uint64_t length)
{
	uint64_t base = (uint64_t)(uintptr_t)region->base;

	if (address >= base && address - base < region->size)
		return length <= region->size - (address - base) ? FST3FS_INSIDE : FST3FS_ACROSS;
	return address < base && length > base - address ? FST3FS_ACROSS : FST3FS_OUTSIDE;
}

struct fst3fs_slot *fst3fs_slot_take(struct fst3fs_session *s)
{
	struct fst3fs_slot *slot = s->free;

	if (slot)
		s->free = slot->next;
	return slot;
}

void fst3fs_slot_give(struct fst3fs_session *s, struct fst3fs_slot *slot)
{
	slot->state = FST3FS_SLOT_FREE;
	slot->entry = NULL;
	slot->next = s->free;
	s->free = slot;
}

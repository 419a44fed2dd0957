/* SPDX-License-Identifier: Apache-2.0 */
#include "rings_world.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "ring.h"

enum {
	FILE_BYTES = 20000,
	CHUNK = 4096,
	BUFFER_BYTES = 8192, /* whole pages, between two that cannot be touched */
	OTHER_USER = 1000,
	MARK = 0xa5,
};

struct world {
	struct stats stats;
	struct storage storage;
	struct backend backend;
	struct inode *files[WORLD_FILES - 1];
	struct iov buffers[WORLD_BUFFERS];
	pthread_mutex_t lock;
	pthread_cond_t done;
	int running;
};

static struct world world;

static const char *const names[WORLD_FILES - 1] = {"bytes", "holes", "closed"};

/* Takes the fd. */
static void fill_file(int fd, int i)
{
	HOLDS(fd >= 0 && ftruncate(fd, 0) == 0 && ftruncate(fd, FILE_BYTES) == 0);
	HOLDS(i == 1 ? pwrite(fd, "x", 1, FILE_BYTES / 2) == 1 : fallocate(fd, 0, 0, FILE_BYTES) == 0);
	close(fd);
}

/* Files live on without their names, for as long as the process. */
static void make_files(struct world *w)
{
	char path[64];
	struct stat st;
	int dir;

	snprintf(path, sizeof(path), "/dev/shm/fuzz-%d-XXXXXX", (int)getpid());
	HOLDS(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	HOLDS(dir >= 0);
	w->backend.inodes = inodes_new(dir);
	HOLDS(w->backend.inodes);
	for (int i = 0; i < WORLD_FILES - 1; i++) {
		fill_file(openat(dir, names[i], O_CREAT | O_RDWR | O_CLOEXEC, 0600), i);
		HOLDS(inodes_lookup(w->backend.inodes, inodes_node(w->backend.inodes, 1), names[i], &st,
				    &w->files[i]) == 0);
		if (i < 2)
			inodes_opened(w->backend.inodes, w->files[i]);
		unlinkat(dir, names[i], 0);
	}
	rmdir(path);
}

static void make_buffer(struct world *w, int i)
{
	const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *area = mmap(NULL, BUFFER_BYTES + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iov *iov = &w->buffers[i];

	HOLDS(area != MAP_FAILED && mprotect(area + guard, BUFFER_BYTES, PROT_READ | PROT_WRITE) == 0);
	*iov = (struct iov){.refs = 1, .base = area + guard, .size = BUFFER_BYTES};
	iov->key = (struct key){.id = {(uint8_t)(i + 1)}, .block_size = i == 1 ? 4096 : 0, .is_ring = i == 3};
	iov->owner.uid = i == 2 ? OTHER_USER : 0;
	memset(iov->base, MARK, iov->size);
	HOLDS(iovs_insert(w->backend.iovs, iov) == 0);
}

static void make(struct world *w)
{
	const struct storage_config config = {.chunk_bytes = CHUNK, .admission = {.servers = 1}};

	stats_init(&w->stats);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->done, NULL);
	HOLDS(storage_start(&w->storage, &config) == 0);
	w->backend.stats = &w->stats;
	w->backend.storage = &w->storage;
	w->backend.iovs = iovs_new(&w->stats);
	w->backend.copiers = fst3fs_pool_new("copier", 2);
	HOLDS(w->backend.iovs && w->backend.copiers);
	make_files(w);
	for (int i = 0; i < WORLD_BUFFERS; i++)
		make_buffer(w, i);
}

struct world *world_begin(unsigned kind)
{
	if (!world.backend.stats)
		make(&world);
	world.storage.faults = (struct faults){0};
	world.storage.faults.every[FAULT_FAIL] = kind & 1 ? 3 : 0;
	world.storage.faults.every[FAULT_SHORT] = kind & 2 ? 2 : 0;
	world.storage.faults.every[FAULT_HANG] = kind & 4 ? 5 : 0;
	world.backend.null = kind & 8;
	world.backend.read_only = kind & 16;
	return &world;
}

static void check_buffers(const struct world *w)
{
	for (int i = 0; i < WORLD_BUFFERS; i++)
		HOLDS(w->buffers[i].refs == 2);
	for (int i = 2; i < WORLD_BUFFERS; i++)
		for (size_t k = 0; k < BUFFER_BYTES; k++)
			HOLDS(w->buffers[i].base[k] == MARK);
}

void world_end(struct world *w, bool wrote)
{
	/* What a request touched outside of a buffer. */
	HOLDS(w->stats.violations[VIOLATION_MEMORY] == 0);
	check_buffers(w);
	for (int i = 0; i < WORLD_FILES - 1; i++) {
		HOLDS(w->files[i]->ios == 0);
		/* As they were, for the next input. */
		if (wrote)
			fill_file(inode_reopen(w->files[i], O_WRONLY), i);
	}
}

const struct backend *world_backend(const struct world *w)
{
	return &w->backend;
}

uint64_t world_file(const struct world *w, unsigned i)
{
	if (i < WORLD_FILES - 1)
		return w->files[i]->ino;
	return i == WORLD_FILES - 1 ? 1 : UINT64_MAX;
}

const uint8_t *world_buffer(const struct world *w, unsigned i)
{
	static const uint8_t none[16] = {0xff};

	return i < WORLD_BUFFERS ? w->buffers[i].key.id : none;
}

static void job_done(struct job *job, void *arg)
{
	struct world *w = arg;

	ring_complete(job->ring, job);
	pthread_mutex_lock(&w->lock);
	w->running--;
	pthread_cond_signal(&w->done);
	pthread_mutex_unlock(&w->lock);
}

void world_run(struct world *w, struct job *job)
{
	unsigned long hung = w->storage.faults.made[FAULT_HANG];

	w->running++;
	job_run(job, job_done, w);
	/* The job may be gone by now; faults were made before it ran. */
	if (w->storage.faults.made[FAULT_HANG] > hung) {
		w->running--;
		return;
	}
	pthread_mutex_lock(&w->lock);
	while (w->running)
		pthread_cond_wait(&w->done, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

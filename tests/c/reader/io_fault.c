/* SPDX-License-Identifier: Apache-2.0 */
#include "io_fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"

enum { PLACES = 4096 };

struct io_fault_config io_fault_config;
atomic_int io_fault_in_flight, io_fault_regions, io_fault_most;
atomic_uint io_fault_requests;
/* Address space of the region that was freed last: the next of its size lies there, as it often happens without asking.
 */
static struct {
	pthread_mutex_t lock;
	void *base;
	size_t size;
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What the far side knows of a request: it does not look at the request's own memory again, which the engine may have
 * given up. */
struct pending {
	struct fst3fs_io_req *req;
	struct fst3fs_region *region;
	int fd;
	uint64_t offset, length;
	void *buf;
	unsigned number;
};

struct fault {
	struct fst3fs_io io;
	struct fst3fs_waker *waker;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	pthread_t thread;
	struct pending queue[PLACES];
	struct fst3fs_io_req *landed[PLACES];
	int queued, answering, nlanded, entries;
	unsigned seed;
	bool ending, broken;
	atomic_int refs; /* the engine's and the thread's */
};

/* A region lives until the engine and every request into it have let go, as shared memory does. */
struct region {
	struct fst3fs_region region;
	atomic_int refs;
};

/* Nobody may touch it, and nothing else comes to lie there. */
static void leave(void *base, size_t size)
{
	pthread_mutex_lock(&left.lock);
	if (left.base)
		munmap(left.base, left.size);
	left.base = mmap(base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	left.size = size;
	pthread_mutex_unlock(&left.lock);
}

static void *map(size_t size)
{
	void *base = NULL;

	pthread_mutex_lock(&left.lock);
	if (left.size == size) {
		base = left.base;
		left.base = NULL;
		left.size = 0;
	}
	pthread_mutex_unlock(&left.lock);
	return mmap(base, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (base ? MAP_FIXED : 0), -1, 0);
}

static void region_unref(struct region *region)
{
	if (atomic_fetch_sub(&region->refs, 1) != 1)
		return;
	leave(region->region.base, region->region.size);
	free(region);
}

static void fault_unref(struct fault *f)
{
	if (atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->moved);
	free(f);
}

/* Under the lock: takes one request at random; a held one stays. */
static bool pick(struct fault *f, struct pending *out)
{
	int first = f->queued > 0 ? (int)((unsigned)rand_r(&f->seed) % (unsigned)f->queued) : 0;

	for (int i = 0; i < f->queued; i++) {
		int at = (first + i) % f->queued;

		if (f->queue[at].number == io_fault_config.hang_nth && atomic_load(&io_fault_config.hold))
			continue;
		*out = f->queue[at];
		f->queue[at] = f->queue[--f->queued];
		return true;
	}
	return false;
}

static int64_t answer(const struct pending *p)
{
	uint64_t length = p->length;
	ssize_t n;

	if (p->number == io_fault_config.fail_nth) {
		if (io_fault_config.fail_code)
			return io_fault_config.fail_code;
		length /= 2;
	}
	n = pread(p->fd, p->buf, length, (off_t)p->offset);
	return n < 0 ? -errno : n;
}

static void *far_side(void *arg)
{
	struct fault *f = arg;
	struct pending p;

	pthread_mutex_lock(&f->lock);
	while (!f->ending || f->queued > 0) {
		struct timespec ts = fst3fs_timespec(fst3fs_now_ns() + 5 * FST3FS_NS_PER_MS);
		unsigned delay = io_fault_config.max_delay_us;
		int64_t result;

		if (!pick(f, &p)) {
			pthread_cond_clockwait(&f->moved, &f->lock, CLOCK_MONOTONIC, &ts);
			continue;
		}
		f->answering = 1;
		pthread_mutex_unlock(&f->lock);
		if (delay)
			usleep((unsigned)rand() % delay);
		result = answer(&p);
		close(p.fd);
		pthread_mutex_lock(&f->lock);
		f->answering = 0;
		region_unref((struct region *)p.region);
		if (f->ending)
			continue; /* the engine has given it up: only the bytes arrive */
		p.req->result = result;
		f->landed[f->nlanded++] = p.req;
		fst3fs_waker_post(f->waker);
	}
	pthread_mutex_unlock(&f->lock);
	fault_unref(f);
	return NULL;
}

/* ------------------------------------------------------------------ the table's functions */

static int fault_open(const struct fst3fs_io_config *config, struct fst3fs_io **out, struct fst3fs_error *err)
{
	struct fault *f = calloc(1, sizeof(*f));
	pthread_attr_t attr;

	(void)err;
	f->io.ops = &io_fault;
	f->waker = config->waker;
	f->entries = config->entries;
	f->seed = io_fault_config.seed;
	f->refs = 2;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_create(&f->thread, &attr, far_side, f);
	pthread_attr_destroy(&attr);
	*out = &f->io;
	return 0;
}

static void fault_close(struct fst3fs_io *io, bool given_up, uint64_t deadline_ns)
{
	struct fault *f = (struct fault *)io;

	(void)deadline_ns;
	pthread_mutex_lock(&f->lock);
	if (!given_up && f->queued + f->answering + f->nlanded > 0)
		abort(); /* the one rule */
	atomic_fetch_sub(&io_fault_in_flight, f->queued + f->answering + f->nlanded);
	f->ending = true;
	pthread_cond_signal(&f->moved);
	pthread_mutex_unlock(&f->lock);
	fault_unref(f);
}

static const char *fault_client(const struct fst3fs_io *io)
{
	(void)io;
	return "fault";
}

static int fault_region_new(struct fst3fs_io *io, size_t size, size_t block_size, int numa, struct fst3fs_region **out,
			    struct fst3fs_error *err)
{
	struct region *region = calloc(1, sizeof(*region));

	(void)io, (void)numa, (void)err;
	region->refs = 1;
	region->region.ops = &io_fault;
	region->region.size = (size + 4095) / 4096 * 4096;
	region->region.block = block_size;
	region->region.base = map(region->region.size);
	atomic_fetch_add(&io_fault_regions, 1);
	*out = &region->region;
	return 0;
}

static void fault_region_free(struct fst3fs_region *region)
{
	atomic_fetch_sub(&io_fault_regions, 1);
	region_unref((struct region *)region);
}

static int fault_start(struct fst3fs_io *io, struct fst3fs_io_req *req)
{
	struct fault *f = (struct fault *)io;
	unsigned one_in = io_fault_config.full_one_in;
	uint8_t *buf = req->buf;
	int now;

	if (buf < req->region->base || buf + req->length > req->region->base + req->region->size)
		return -EINVAL;
	pthread_mutex_lock(&f->lock);
	if (f->queued + f->nlanded > 0 && one_in && rand_r(&f->seed) % (int)one_in == 0) {
		pthread_mutex_unlock(&f->lock);
		return -EAGAIN;
	}
	if (f->queued + f->answering + f->nlanded >= f->entries)
		abort(); /* more in flight than was agreed */
	atomic_fetch_add(&((struct region *)req->region)->refs, 1);
	f->queue[f->queued++] = (struct pending){
		.req = req,
		.region = req->region,
		.fd = dup(req->file->fd),
		.offset = req->offset,
		.length = req->length,
		.buf = req->buf,
		.number = atomic_fetch_add(&io_fault_requests, 1) + 1,
	};
	if (io_fault_config.broken_nth && atomic_load(&io_fault_requests) >= io_fault_config.broken_nth)
		f->broken = true;
	now = atomic_fetch_add(&io_fault_in_flight, 1) + 1;
	if (now > atomic_load(&io_fault_most))
		atomic_store(&io_fault_most, now);
	pthread_cond_signal(&f->moved);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static int fault_reap(struct fst3fs_io *io, struct fst3fs_io_req **out, int max)
{
	struct fault *f = (struct fault *)io;
	bool gathering;
	int n = 0;

	pthread_mutex_lock(&f->lock);
	gathering = f->nlanded < io_fault_config.broken_behind;
	if (f->broken)
		n = -EPROTO;
	while (n >= 0 && n < max && f->nlanded > 0 && !gathering)
		out[n++] = f->landed[--f->nlanded];
	f->broken |= n > 0 && io_fault_config.broken_behind;
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_sub(&io_fault_in_flight, n > 0 ? n : 0);
	return n;
}

static int fault_probe(struct fst3fs_io *io)
{
	(void)io;
	return io_fault_config.probe_code;
}

const struct fst3fs_io_ops io_fault = {
	.size = sizeof(struct fst3fs_io_ops),
	.name = "fault",
	.descr = "misbehaves on demand",
	.open = fault_open,
	.close = fault_close,
	.client = fault_client,
	.region_new = fault_region_new,
	.region_free = fault_region_free,
	.start = fault_start,
	.reap = fault_reap,
	.probe = fault_probe,
};

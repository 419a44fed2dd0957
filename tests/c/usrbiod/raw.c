/* SPDX-License-Identifier: Apache-2.0 */
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cm.h"

#define NOBODY 65534

enum { PATIENCE_S = 20, QUIET_MS = 200 };

/* ---------------------------------------------------------------- files */

int raw_open(struct served *m, const char *name, uint64_t *ino)
{
	char path[160];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", m->path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*ino = st.st_ino;
	return fd;
}

/* ---------------------------------------------------------------- registrations */

static void id_text(const uint8_t id[16], char out[37])
{
	char *p = out;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", id[i]);
	}
}

void raw_shm_make(struct raw_shm *s, size_t size)
{
	char id[37];
	int fd;

	assert_int_equal(getrandom(s->id, sizeof(s->id), 0), sizeof(s->id));
	id_text(s->id, id);
	snprintf(s->name, sizeof(s->name), "/dev/shm/rawtest-%s", id);
	fd = open(s->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	s->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(s->base, MAP_FAILED);
	s->size = size;
	close(fd);
}

static void key_path(const struct served *m, const struct raw_shm *s, char *out, size_t size)
{
	snprintf(out, size, "%s/" USRBIO_IOVS_DIR "/%s", m->path, s->key);
}

int raw_register(struct served *m, struct raw_shm *s, const char *attributes)
{
	char id[37], path[320];

	id_text(s->id, id);
	snprintf(s->key, sizeof(s->key), "%s%s", id, attributes);
	key_path(m, s, path, sizeof(path));
	return symlink(s->name, path) ? -errno : 0;
}

int raw_unregister(struct served *m, struct raw_shm *s)
{
	char path[320];

	key_path(m, s, path, sizeof(path));
	return unlink(path) ? -errno : 0;
}

void raw_shm_drop(struct raw_shm *s)
{
	munmap(s->base, s->size);
	unlink(s->name);
}

/* ---------------------------------------------------------------- rings */

size_t raw_ring_size(int entries)
{
	return USRBIO_RING_FIXED + (size_t)USRBIO_SLOT_BYTES * ((size_t)entries + 1);
}

static sem_t *open_submit(struct served *m, const char *attributes)
{
	char path[160], target[160] = {0};
	sem_t *sem;

	snprintf(path, sizeof(path), "%s/" USRBIO_IOVS_DIR "/submit-ios%s", m->path,
		 strstr(attributes, ".ph")   ? ".ph"
		 : strstr(attributes, ".pl") ? ".pl"
					     : "");
	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	assert_memory_equal(target, "/dev/shm/sem.", strlen("/dev/shm/sem."));
	target[strlen("/dev/shm/sem.") - 1] = '/';
	sem = sem_open(target + strlen("/dev/shm/sem.") - 1, 0);
	assert_ptr_not_equal(sem, SEM_FAILED);
	return sem;
}

int raw_ring_make(struct served *m, struct raw_ring *r, int entries, const char *attributes)
{
	uint8_t *p;
	int rc;

	raw_shm_make(&r->shm, raw_ring_size(entries));
	r->slots = entries + 1;
	r->next_arg = 0;
	p = r->shm.base;
	r->header = (void *)p;
	p += sizeof(*r->header);
	r->args = (void *)p;
	p += sizeof(*r->args) * (size_t)r->slots;
	r->cqes = (void *)p;
	p += sizeof(*r->cqes) * (size_t)r->slots;
	r->sqes = (void *)p;
	p += sizeof(*r->sqes) * (size_t)r->slots;
	r->completed = (void *)p;
	rc = raw_register(m, &r->shm, attributes);
	if (rc)
		raw_shm_drop(&r->shm);
	else
		r->submit = open_submit(m, attributes);
	return rc;
}

void raw_ring_drop(struct served *m, struct raw_ring *r)
{
	raw_unregister(m, &r->shm);
	sem_close(r->submit);
	raw_shm_drop(&r->shm);
}

int raw_prep(struct raw_ring *r, const struct raw_shm *buf, uint64_t buf_off, uint64_t ino, uint64_t off, uint64_t len)
{
	int slot = r->next_arg, head = __atomic_load_n(&r->header->sqe_head, __ATOMIC_SEQ_CST);
	struct usrbio_arg *arg = &r->args[slot];

	memcpy(arg->buf_id, buf->id, sizeof(arg->buf_id));
	arg->buf_off = buf_off;
	arg->file_ino = ino;
	arg->file_off = off;
	arg->len = len;
	arg->userdata = 1000 + (uint64_t)slot;
	r->sqes[head].index = slot;
	r->sqes[head].userdata = 1000 + (uint64_t)slot;
	r->next_arg = (slot + 1) % r->slots;
	__atomic_store_n(&r->header->sqe_head, (head + 1) % r->slots, __ATOMIC_SEQ_CST);
	return slot;
}

void raw_post(struct raw_ring *r)
{
	sem_post(r->submit);
}

bool raw_reap(struct raw_ring *r, struct usrbio_cqe *out)
{
	int tail = r->header->cqe_tail;

	if (__atomic_load_n(&r->header->cqe_head, __ATOMIC_SEQ_CST) == tail)
		return false;
	*out = r->cqes[tail];
	__atomic_store_n(&r->header->cqe_tail, (tail + 1) % r->slots, __ATOMIC_SEQ_CST);
	return true;
}

struct usrbio_cqe raw_wait(struct raw_ring *r)
{
	struct timespec until;
	struct usrbio_cqe cqe;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	while (!raw_reap(r, &cqe)) {
		if (sem_timedwait(r->completed, &until) && errno == ETIMEDOUT)
			fail_msg("no completion");
	}
	return cqe;
}

bool raw_quiet(struct raw_ring *r)
{
	usleep(QUIET_MS * 1000);
	return __atomic_load_n(&r->header->cqe_head, __ATOMIC_SEQ_CST) == r->header->cqe_tail;
}

int raw_as_nobody(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(99);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fresh memory costs by itself, and without the huge pages that this package makes.
 *
 *   pages private|huge|shared BYTES    puts so much memory there, with MADV_POPULATE_WRITE on all processors, and
 * prints the seconds; huge pages asked for or not, or an object in /dev/shm pages small COMMAND...             runs a
 * command whose kernel refuses MADV_COLLAPSE
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define COLLAPSE 25
#define HUGE (2ul << 20)
#define STEP (8ul << 20)
enum { MOST_THREADS = 64 };

struct populating {
	uint8_t *base;
	size_t size;
	atomic_size_t next;
};

static void die(const char *what)
{
	fprintf(stderr, "pages: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *populate(void *arg)
{
	struct populating *p = arg;
	size_t at;

	while ((at = atomic_fetch_add(&p->next, STEP)) < p->size)
		if (madvise(p->base + at, p->size - at < STEP ? p->size - at : STEP, MADV_POPULATE_WRITE) < 0)
			die("MADV_POPULATE_WRITE");
	return NULL;
}

/* Fresh memory that begins at a huge page. */
static uint8_t *fresh(const char *kind, size_t size)
{
	uint8_t *base = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd;

	if (base == MAP_FAILED)
		die("mmap");
	base += -(uintptr_t)base % HUGE;
	if (strcmp(kind, "huge") == 0)
		madvise(base, size, MADV_HUGEPAGE);
	if (strcmp(kind, "shared") != 0)
		return base;
	char path[] = "/dev/shm/fst3fs-pages-XXXXXX";

	fd = mkstemp(path);
	if (fd < 0 || unlink(path) < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		die(path);
	close(fd);
	return base;
}

static void measure(const char *kind, size_t size)
{
	struct populating p = {.base = fresh(kind, size), .size = size};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int threads = cpus < 1 ? 1 : cpus < MOST_THREADS ? (int)cpus : MOST_THREADS;
	pthread_t ids[MOST_THREADS];
	double start = seconds();

	for (int i = 0; i < threads; i++)
		if ((errno = pthread_create(&ids[i], NULL, populate, &p)) != 0)
			die("pthread_create");
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("%.9f\n", seconds() - start);
}

static void run_small(char **command)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, COLLAPSE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = sizeof(filter) / sizeof(*filter), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		die("seccomp");
	execvp(command[0], command);
	die(command[0]);
}

int main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "small") == 0)
		run_small(argv + 2);
	if (argc != 3) {
		fprintf(stderr, "usage: pages private|huge|shared BYTES, or pages small COMMAND...\n");
		return 2;
	}
	measure(argv[1], strtoull(argv[2], NULL, 10));
	return 0;
}

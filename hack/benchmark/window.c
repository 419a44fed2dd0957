/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick: the barest window of requests that the hf3fs_* functions allow, with a piece size and depth of the
 * caller's choice, over the same files. What it reaches at its best is what this package is measured against.
 *
 *   window MOUNT PIECE DEPTH none|copy FILE...
 *
 * Reads every file once, DEPTH pieces in flight, each followed by memcpy to ordinary memory with "copy"; prints
 * seconds, bytes and CPU seconds. Everything but the reading itself is outside of the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hf3fs_usrbio.h"

struct window {
	struct hf3fs_iov iov;
	struct hf3fs_ior ior;
	size_t piece;
	int depth;
	char *copy_to; /* NULL: deliver nowhere */
	uint64_t bytes;
};

struct place {
	int index;
	off_t offset; /* of the piece that it carries */
};

static void die(const char *what, int code)
{
	fprintf(stderr, "window: %s: %s\n", what, strerror(abs(code)));
	exit(1);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void take_back(struct window *w, const struct place *p, const struct hf3fs_cqe *cqe)
{
	if (cqe->result < 0)
		die("a request failed", (int)cqe->result);
	if (w->copy_to)
		memcpy(w->copy_to + p->offset, w->iov.base + (size_t)p->index * w->piece, (size_t)cqe->result);
	w->bytes += (uint64_t)cqe->result;
}

/* Reads the files as one stream of pieces, so that the window stays full across their borders. */
static void run(struct window *w, const int *fds, const off_t *sizes, int files)
{
	struct place *places = calloc((size_t)w->depth, sizeof(*places)), **free_places;
	struct hf3fs_cqe cqes[64];
	int file = 0, in_flight = 0, nfree = 0;
	off_t at = 0;

	free_places = calloc((size_t)w->depth, sizeof(*free_places));
	for (int i = 0; i < w->depth; i++) {
		places[i].index = i;
		free_places[nfree++] = &places[i];
	}
	while (file < files || in_flight > 0) {
		int n;

		while (file < files && nfree > 0) {
			struct place *p = free_places[nfree - 1];
			size_t length = sizes[file] - at < (off_t)w->piece ? (size_t)(sizes[file] - at) : w->piece;

			p->offset = at;
			n = hf3fs_prep_io(&w->ior, &w->iov, true, w->iov.base + (size_t)p->index * w->piece, fds[file],
					  (size_t)at, length, p);
			if (n == -EAGAIN)
				break;
			if (n < 0)
				die("prep", n);
			nfree--;
			in_flight++;
			at += (off_t)length;
			if (at >= sizes[file]) {
				file++;
				at = 0;
			}
		}
		hf3fs_submit_ios(&w->ior);
		if (in_flight == 0) {
			/* Full with nothing in flight: the daemon has answered all and not yet moved the queue's tail.
			 */
			usleep(20);
			continue;
		}
		n = hf3fs_wait_for_ios(&w->ior, cqes, 64, 1, NULL);
		if (n < 0)
			die("wait", n);
		for (int i = 0; i < n; i++) {
			struct place *p = (struct place *)(uintptr_t)cqes[i].userdata;

			take_back(w, p, &cqes[i]);
			free_places[nfree++] = p;
			in_flight--;
		}
	}
	free(free_places);
	free(places);
}

int main(int argc, char **argv)
{
	struct window w = {0};
	int files = argc - 5, rc;
	int *fds = calloc((size_t)argc, sizeof(*fds));
	off_t *sizes = calloc((size_t)argc, sizeof(*sizes)), largest = 0;
	double start, cpu;

	if (files < 1) {
		fprintf(stderr, "usage: window MOUNT PIECE DEPTH none|copy FILE...\n");
		return 2;
	}
	w.piece = strtoull(argv[2], NULL, 10);
	w.depth = atoi(argv[3]);
	for (int i = 0; i < files; i++) {
		struct stat st;

		fds[i] = open(argv[i + 5], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0 || fstat(fds[i], &st) != 0)
			die(argv[i + 5], errno);
		sizes[i] = st.st_size;
		largest = st.st_size > largest ? st.st_size : largest;
		rc = hf3fs_reg_fd(fds[i], 0);
		if (rc > 0)
			die("reg_fd", rc);
	}
	if (strcmp(argv[4], "copy") == 0) {
		w.copy_to = malloc((size_t)largest);
		memset(w.copy_to, 1, (size_t)largest); /* its pages exist before the clock runs */
	}
	rc = hf3fs_iovcreate(&w.iov, argv[1], w.piece * (size_t)w.depth, 0, -1);
	if (rc == 0)
		rc = hf3fs_iorcreate(&w.ior, argv[1], w.depth * 4, true, 1, -1);
	if (rc < 0)
		die("registering", rc);
	start = seconds();
	cpu = cpu_seconds();
	run(&w, fds, sizes, files);
	printf("%.9f %llu %.6f\n", seconds() - start, (unsigned long long)w.bytes, cpu_seconds() - cpu);
	hf3fs_iordestroy(&w.ior);
	hf3fs_iovdestroy(&w.iov);
	free(w.copy_to);
	free(fds);
	free(sizes);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads tensors of a checkpoint: those named, into memory of their own; or all of them, each as soon as it is there.
 *
 *   cc tensors.c $(pkg-config --cflags --libs fst3fs) && ./a.out CHECKPOINT [NAME...]
 */
#include <fst3fs.h>
#include <stdio.h>
#include <stdlib.h>

static int complain(const struct fst3fs_error *err)
{
	fprintf(stderr, "%s%s%s\n", err->path, err->path[0] ? ": " : "", err->text);
	return 1;
}

/* One line for a tensor: what it is, and the sum of its bytes. */
static void show(const struct fst3fs_checkpoint *c, size_t i, const unsigned char *bytes)
{
	unsigned long long sum = 0;
	struct fst3fs_tensor t;

	fst3fs_checkpoint_tensor(c, i, &t);
	for (uint64_t k = 0; k < t.length; k++)
		sum += bytes[k];
	printf("%s %s [", t.name, t.dtype);
	for (unsigned k = 0; k < t.rank; k++)
		printf("%s%llu", k ? "," : "", (unsigned long long)t.shape[k]);
	printf("] %llu bytes, sum %llu\n", (unsigned long long)t.length, sum);
}

/* Room for tensor `i`; malloc's own alignment suits every dtype. */
static void *room_for(const struct fst3fs_checkpoint *c, size_t i)
{
	struct fst3fs_tensor t;

	fst3fs_checkpoint_tensor(c, i, &t);
	return malloc(t.length ? (size_t)t.length : 1);
}

static int load_named(struct fst3fs_reader *r, const struct fst3fs_checkpoint *c, char **names, int n)
{
	for (int k = 0; k < n; k++) {
		int64_t found = fst3fs_checkpoint_find(c, names[k]);
		struct fst3fs_error err;
		size_t i = (size_t)found;
		uint64_t dst;
		void *bytes;
		int rc;

		if (found < 0) {
			fprintf(stderr, "%s: no such tensor\n", names[k]);
			return 1;
		}
		bytes = room_for(c, i);
		dst = (uint64_t)(uintptr_t)bytes;
		rc = fst3fs_read_tensors(r, c, &i, &dst, 1, &err);
		if (rc == 0)
			show(c, i, bytes);
		free(bytes);
		if (rc < 0)
			return complain(&err);
	}
	return 0;
}

static int load_all(struct fst3fs_reader *r, const struct fst3fs_checkpoint *c)
{
	void **places = calloc(fst3fs_checkpoint_count(c) + 1, sizeof(*places));
	struct fst3fs_stream *s = NULL;
	struct fst3fs_error err;
	size_t i;
	int rc = fst3fs_stream_open(r, c, NULL, 0, NULL, &s, &err);

	while (rc >= 0) {
		while (rc >= 0 && fst3fs_stream_wants(s, &i)) {
			places[i] = room_for(c, i);
			rc = fst3fs_stream_give(s, (uint64_t)(uintptr_t)places[i], &err);
		}
		if (rc >= 0)
			rc = fst3fs_stream_next(s, &i, &err);
		if (rc <= 0)
			break;
		show(c, i, places[i]);
	}
	fst3fs_stream_close(s); /* nothing is read into the places any more */
	for (i = 0; i < fst3fs_checkpoint_count(c); i++)
		free(places[i]);
	free(places);
	return rc < 0 ? complain(&err) : 0;
}

int main(int argc, char **argv)
{
	const char *const *paths = (const char *const *)&argv[1];
	struct fst3fs_checkpoint *checkpoint = NULL;
	struct fst3fs_reader *reader = NULL;
	struct fst3fs_options options;
	struct fst3fs_error err;
	char mount[4096] = "";
	int status = 1;

	if (argc < 2) {
		fprintf(stderr, "usage: %s CHECKPOINT [NAME...]\n", argv[0]);
		return 2;
	}
	fst3fs_options_init(&options);
	fst3fs_mount_point(argv[1], mount, sizeof(mount)); /* "": not on 3FS */
	options.mount_point = mount;
	if (fst3fs_open(&options, &reader, &err) < 0 || fst3fs_checkpoint_open(reader, paths, 1, &checkpoint, &err) < 0)
		complain(&err);
	else if (argc > 2)
		status = load_named(reader, checkpoint, argv + 2, argc - 2);
	else
		status = load_all(reader, checkpoint);
	fst3fs_checkpoint_free(checkpoint);
	fst3fs_close(reader);
	return status;
}

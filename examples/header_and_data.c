/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads safetensors files: all headers in a batch, then all tensor data in one go, into memory that needs no copy.
 *
 *   cc header_and_data.c $(pkg-config --cflags --libs fst3fs) && ./a.out FILE...
 */
#include <fst3fs.h>
#include <stdio.h>
#include <stdlib.h>

static int complain(const struct fst3fs_error *err)
{
	fprintf(stderr, "%s%s%s\n", err->path, err->path[0] ? ": " : "", err->text);
	return 1;
}

/* The data of all files, one after the other, in `memory`. */
static int read_data(struct fst3fs_reader *reader, char **paths, int n, const struct fst3fs_header *headers,
		     struct fst3fs_memory *memory)
{
	struct fst3fs_request *requests = calloc((size_t)n, sizeof(*requests));
	uint64_t at = (uint64_t)(uintptr_t)fst3fs_memory_address(memory);
	struct fst3fs_error err;
	int rc;

	if (!requests)
		return 1;
	for (int i = 0; i < n; i++) {
		requests[i].path = paths[i];
		requests[i].dst = at;
		requests[i].offset = (int64_t)headers[i].length;
		requests[i].length = (int64_t)(headers[i].file_size - headers[i].length);
		at += (uint64_t)requests[i].length;
	}
	rc = fst3fs_read_many(reader, requests, (size_t)n, 0, 0, &err);
	for (int i = 0; rc == 0 && i < n; i++)
		printf("%s: header %llu bytes, data %lld bytes\n", paths[i], (unsigned long long)headers[i].length,
		       (long long)requests[i].result);
	free(requests);
	return rc < 0 ? complain(&err) : 0;
}

int main(int argc, char **argv)
{
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_header *headers = calloc((size_t)argc, sizeof(*headers));
	struct fst3fs_memory *memory = NULL;
	struct fst3fs_reader *reader = NULL;
	struct fst3fs_options options;
	struct fst3fs_error err;
	char mount_point[4096] = "";
	uint64_t total = 1; /* memory of 0 bytes is not to be had */
	int n = argc - 1, status = 1;

	if (n < 1 || !headers) {
		fprintf(stderr, "usage: header_and_data FILE...\n");
		goto out;
	}
	fst3fs_mount_point(argv[1], mount_point, sizeof(mount_point));
	fst3fs_options_init(&options);
	options.mount_point = mount_point; /* "" reads through the operating system */
	if (fst3fs_open(&options, &reader, &err) < 0) {
		complain(&err);
		goto out;
	}
	if (fst3fs_read_headers(reader, (const char *const *)argv + 1, (size_t)n, 8, headers, &err) < 0) {
		complain(&err);
		goto out;
	}
	for (int i = 0; i < n; i++)
		total += headers[i].file_size - headers[i].length;
	if (fst3fs_alloc(reader, total, &memory, &err) < 0) {
		complain(&err);
		goto out;
	}
	status = read_data(reader, argv + 1, n, headers, memory);
	fst3fs_get_info(reader, &info);
	printf("transport %s, %llu bytes, %llu of them without a copy\n", info.transport,
	       (unsigned long long)info.bytes, (unsigned long long)info.bytes_direct);
out:
	fst3fs_memory_free(memory);
	if (headers)
		fst3fs_headers_free(headers, (size_t)(n > 0 ? n : 0));
	free(headers);
	fst3fs_close(reader);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "work.h"

#include <stdio.h>
#include <string.h>

/* Of the file with tensors: where their bytes begin is a multiple of 8. */
static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1000],\"data_offsets\":[0,1000]},"
			     "\"b\":{\"dtype\":\"U8\",\"shape\":[306217],\"data_offsets\":[1000,307217]},"
			     "\"__metadata__\":{\"format\":\"pt\"}}     ";

static char plain[128], tensors[128];

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

void work_files(struct served *mount)
{
	const uint64_t length = sizeof(header) - 1;
	char path[128];
	FILE *f;

	snprintf(plain, sizeof(plain), "%s", served_file(mount, "plain", WORK_SIZE));
	snprintf(tensors, sizeof(tensors), "%s/t.safetensors", mount->path);
	snprintf(path, sizeof(path), "%s/t.safetensors", mount->backing);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(&length, 8, 1, f), 1);
	assert_int_equal(fwrite(header, length, 1, f), 1);
	for (uint64_t i = 0; i < WORK_SIZE; i++)
		fputc(served_byte(i), f);
	assert_int_equal(fclose(f), 0);
}

static int open_reader(struct work_state *s, struct fst3fs_error *err)
{
	struct fst3fs_options o;

	fst3fs_options_init(&o);
	o.mount_point = s->posix ? "" : s->mount;
	o.require_usrbio = !s->posix;
	o.buffer_size = 256 << 10;
	o.timeout_ms = 20000;
	return fst3fs_open(&o, &s->reader, err);
}

/* ------------------------------------------------------------------ the works */

static int run_read(struct work_state *s, struct fst3fs_error *err)
{
	int64_t got = fst3fs_read(s->reader, plain, address(s->bytes), 0, WORK_SIZE, 0, 0, err);

	return got < 0 ? (int)got : 0;
}

/* Open, read and close: the reader is the work's own. */
static int run_life(struct work_state *s, struct fst3fs_error *err)
{
	int rc = open_reader(s, err);

	if (rc == 0)
		rc = run_read(s, err);
	fst3fs_close(s->reader);
	s->reader = NULL;
	return rc;
}

static void halves(struct work_state *s, struct fst3fs_request requests[2])
{
	const int64_t half = WORK_SIZE / 2;

	requests[0] = (struct fst3fs_request){.path = plain, .dst = address(s->bytes), .length = half};
	requests[1] = (struct fst3fs_request){
		.path = plain, .dst = address(s->bytes) + half, .offset = half, .length = WORK_SIZE - half};
}

static int run_many(struct work_state *s, struct fst3fs_error *err)
{
	struct fst3fs_request requests[2];

	halves(s, requests);
	return fst3fs_read_many(s->reader, requests, 2, 0, 0, err);
}

static int run_batch(struct work_state *s, struct fst3fs_error *err)
{
	struct fst3fs_request requests[2];
	struct fst3fs_batch *batch;
	int rc;

	halves(s, requests);
	rc = fst3fs_start_many(s->reader, requests, 2, 0, &batch, err);
	return rc < 0 ? rc : fst3fs_batch_finish(batch, err);
}

static int run_headers(struct work_state *s, struct fst3fs_error *err)
{
	const char *paths[2] = {tensors, tensors};
	struct fst3fs_header headers[2] = {{0}};
	int rc = fst3fs_read_headers(s->reader, paths, 2, 2, headers, err);

	if (rc == 0)
		assert_string_equal(headers[1].json, header);
	fst3fs_headers_free(headers, 2);
	return rc < 0 ? rc : run_read(s, err);
}

static int run_alloc(struct work_state *s, struct fst3fs_error *err)
{
	struct fst3fs_memory *memory;
	int rc = fst3fs_alloc(s->reader, WORK_SIZE, &memory, err);
	int64_t got;

	if (rc < 0)
		return rc;
	got = fst3fs_read(s->reader, plain, address(fst3fs_memory_address(memory)), 0, WORK_SIZE, 0, 0, err);
	if (got >= 0)
		memcpy(s->bytes, fst3fs_memory_address(memory), WORK_SIZE);
	fst3fs_memory_free(memory);
	return got < 0 ? (int)got : 0;
}

static int run_tensors(struct work_state *s, struct fst3fs_error *err)
{
	const char *path = tensors;
	struct fst3fs_checkpoint *c;
	const size_t which[2] = {0, 1};
	const uint64_t dst[2] = {address(s->bytes), address(s->bytes) + WORK_TENSOR};
	int rc = fst3fs_checkpoint_open(s->reader, &path, 1, &c, err);

	if (rc < 0)
		return rc;
	assert_int_equal(fst3fs_checkpoint_find(c, "b"), 1);
	rc = fst3fs_read_tensors(s->reader, c, which, dst, 2, err);
	fst3fs_checkpoint_free(c);
	return rc;
}

static int take_all(struct fst3fs_stream *stream, uint64_t base, struct fst3fs_error *err)
{
	size_t tensor;
	int rc;

	do {
		rc = 0;
		while (rc == 0 && fst3fs_stream_wants(stream, &tensor))
			rc = fst3fs_stream_give(stream, base + tensor * WORK_TENSOR, err);
		if (rc == 0)
			rc = fst3fs_stream_next(stream, &tensor, err);
	} while (rc > 0);
	return rc;
}

static int run_stream(struct work_state *s, struct fst3fs_error *err)
{
	const char *path = tensors;
	struct fst3fs_stream *stream = NULL;
	struct fst3fs_checkpoint *c;
	int rc = fst3fs_checkpoint_open(s->reader, &path, 1, &c, err);

	if (rc < 0)
		return rc;
	rc = fst3fs_stream_open(s->reader, c, NULL, 0, NULL, &stream, err);
	if (rc == 0)
		rc = take_all(stream, address(s->bytes), err);
	fst3fs_stream_close(stream);
	fst3fs_checkpoint_free(c);
	return rc;
}

static int read_window(struct work_state *s, const struct fst3fs_share *share, uint64_t window,
		       struct fst3fs_error *err)
{
	struct fst3fs_request requests[4];
	int64_t n = fst3fs_share_requests(share, window, 0, address(s->bytes), requests, 4);

	assert_in_range(n, 1, 4);
	return fst3fs_read_many(s->reader, requests, (size_t)n, 0, 0, err);
}

static int run_share(struct work_state *s, struct fst3fs_error *err)
{
	const char *path = tensors;
	struct fst3fs_share *share = NULL;
	struct fst3fs_checkpoint *c;
	int rc = fst3fs_checkpoint_open(s->reader, &path, 1, &c, err);

	if (rc < 0)
		return rc;
	rc = fst3fs_share_open(c, NULL, 0, 1, WORK_SIZE, 1, &share, err);
	if (rc == 0)
		rc = read_window(s, share, 0, err);
	fst3fs_share_close(share);
	fst3fs_checkpoint_free(c);
	return rc;
}

const struct work works[WORKS] = {
	{"life over USRBIO", false, false, run_life},
	{"life", false, true, run_life},
	{"read over USRBIO", true, false, run_read},
	{"read", true, true, run_read},
	{"read_many", true, false, run_many},
	{"start_many", true, false, run_batch},
	{"headers", true, false, run_headers},
	{"alloc", true, false, run_alloc},
	{"tensors", true, false, run_tensors},
	{"stream", true, false, run_stream},
	{"share", true, false, run_share},
};

/* ------------------------------------------------------------------ around them */

static void assert_opens(struct work_state *s)
{
	struct fst3fs_error err;

	if (open_reader(s, &err) < 0)
		fail_msg("%s", err.text);
}

void work_begin(const struct work *work, struct work_state *s)
{
	s->posix = work->posix;
	if (work->opened)
		assert_opens(s);
}

void work_check(const struct work_state *s)
{
	for (uint64_t i = 0; i < WORK_SIZE; i++)
		if (s->bytes[i] != served_byte(i))
			fail_msg("byte %llu differs", (unsigned long long)i);
}

void work_again(const struct work *work, struct work_state *s)
{
	struct fst3fs_error err;

	memset(s->bytes, 0, sizeof(s->bytes));
	if (work->run(s, &err) < 0)
		fail_msg("afterwards: %s", err.text);
	work_check(s);
}

void work_end(struct work_state *s)
{
	fst3fs_close(s->reader);
	s->reader = NULL;
}

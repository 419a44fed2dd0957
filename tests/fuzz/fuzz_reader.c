/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a caller passes: the options of a reader, and ranges to read with it from a file that is not on 3FS. Whatever
 * they are, the caller is told what is wrong, or gets the bytes.
 *
 * Covers: src/reader/api/reader.c src/reader/api/check.c src/reader/api/read.c src/reader/api/transport_choice.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fst3fs.h"
#include "fuzz.h"

enum {
	FILE_BYTES = 10000,
	ROOM = 12000,
	BUFFER_MAX = 256 << 10,
	PATIENCE_MS = 60000, /* what may time out on a busy machine is not meant */
};

/* What dlopen() keeps for dlerror() until its thread ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:_dlerror_run";
}

static char path[64];

static uint8_t byte_at(int64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

static void make_file(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	uint8_t bytes[FILE_BYTES];

	for (int i = 0; i < FILE_BYTES; i++)
		bytes[i] = byte_at(i);
	HOLDS(write(fd, bytes, sizeof(bytes)) == FILE_BYTES);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
}

/* Small numbers, mostly, and those at the ends of what a type holds. */
static uint64_t take_number(struct fuzz_input *in)
{
	switch (fuzz_choice(in, 4)) {
	case 0:
		return fuzz_number(in, 8);
	case 1:
		return (uint64_t)INT64_MAX - fuzz_number(in, 1);
	default:
		return fuzz_number(in, 2);
	}
}

static struct fst3fs_options take_options(struct fuzz_input *in)
{
	static const char *const mounts[] = {NULL, "", "/tmp", "/no/such/mount"};
	struct fst3fs_options o;

	fst3fs_options_init(&o);
	o.mount_point = mounts[fuzz_choice(in, 4)];
	if (fuzz_choice(in, 8) == 1)
		o.size = fuzz_number(in, 2);
	o.entries = (int)take_number(in);
	o.io_depth = (int)take_number(in);
	o.buffer_size = take_number(in);
	/* What this machine could not hold is refused, and what it could is not worth taking. */
	if (o.buffer_size < 1ull << 50)
		o.buffer_size %= BUFFER_MAX;
	o.timeout_ms = (uint32_t)take_number(in);
	if (o.timeout_ms && o.timeout_ms < PATIENCE_MS)
		o.timeout_ms += PATIENCE_MS;
	o.usrbio = (int)fuzz_choice(in, 4) - 1;
	o.sdk_path = fuzz_choice(in, 2) ? "/no/such/library" : NULL;
	o.require_usrbio = fuzz_choice(in, 8) == 1;
	o.populate = fuzz_choice(in, 2);
	o.trace = fuzz_choice(in, 8) == 1 ? "/no/such/directory/trace" : "";
	return o;
}

static void check_bytes(const uint8_t *got, int64_t offset, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		HOLDS(got[i] == byte_at(offset + i));
}

struct range {
	int64_t offset, length, chunk;
	uint8_t *room; /* NULL = deliver nowhere */
	uint64_t dst;
	unsigned flags;
};

static struct range take_range(struct fuzz_input *in)
{
	struct range q;

	q.offset = (int64_t)take_number(in);
	q.length = (int64_t)take_number(in);
	q.chunk = (int64_t)take_number(in);
	q.flags = fuzz_choice(in, 3);
	q.room = fuzz_choice(in, 2) && q.length >= 0 && q.length <= ROOM ? malloc((size_t)q.length + 1) : NULL;
	q.dst = (uint64_t)(uintptr_t)q.room;
	/* An address is trusted, but for a range that no address space has. */
	if (!q.room && q.length > 255 && fuzz_choice(in, 2))
		q.dst = UINT64_MAX - 255;
	return q;
}

static bool is_refused(const struct range *q)
{
	return q->offset < 0 || q->length < 0 || q->chunk < 0 || q->length > INT64_MAX - q->offset ||
	       q->flags > FST3FS_READ_IN_TURN || (!q->room && q->dst);
}

static void read_range(struct fst3fs_reader *r, struct fuzz_input *in)
{
	const struct range q = take_range(in);
	struct fst3fs_error err;
	int64_t got = fst3fs_read(r, path, q.dst, q.offset, q.length, q.chunk, q.flags, &err);

	if (is_refused(&q)) {
		HOLDS(got == -EINVAL && err.code == -EINVAL && err.text[0]);
	} else {
		int64_t left = q.offset < FILE_BYTES ? FILE_BYTES - q.offset : 0;

		HOLDS(got == (q.length < left ? q.length : left));
		HOLDS(got == 0 || fst3fs_has_file(r, path));
		if (q.room)
			check_bytes(q.room, q.offset, got);
	}
	free(q.room);
}

/* It is there from the first read on. One read at a time may have it. */
static void read_into_own_buffer(struct fst3fs_reader *r)
{
	static struct fst3fs_info info; /* large */
	struct fst3fs_request both[2];
	struct fst3fs_error err;
	int64_t got;

	info.size = sizeof(info);
	HOLDS(fst3fs_get_info(r, &info) == 0);
	if (!info.iov_base)
		return;
	both[0] = both[1] =
		(struct fst3fs_request){.path = path, .dst = (uint64_t)(uintptr_t)info.iov_base, .length = 1};
	HOLDS(fst3fs_read_many(r, both, 2, 0, 0, &err) == -EINVAL && err.text[0]);
	got = fst3fs_read(r, path, both[0].dst, 0, (int64_t)info.iov_length, 0, 0, &err);
	HOLDS(got == (info.iov_length < FILE_BYTES ? (int64_t)info.iov_length : FILE_BYTES));
	check_bytes(info.iov_base, 0, got);
}

static void step(struct fst3fs_reader *r, struct fuzz_input *in)
{
	read_range(r, in);
	switch (fuzz_choice(in, 4)) {
	case 2:
		read_into_own_buffer(r);
		break;
	case 3:
		fst3fs_release(r);
		HOLDS(!fst3fs_has_file(r, path));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, data + size};
	struct fst3fs_reader *r = NULL;
	struct fst3fs_options o;
	struct fst3fs_error err;
	char mount[64];
	int rc;

	if (!path[0])
		make_file();
	HOLDS(fst3fs_mount_point(path, mount, sizeof(mount)) == 0 && strcmp(fst3fs_version(), FST3FS_VERSION) == 0);
	o = take_options(&in);
	rc = fst3fs_open(&o, &r, &err);
	HOLDS((rc == 0) == (r != NULL));
	if (rc < 0)
		HOLDS(err.code == rc && err.text[0]);
	/* Few: a look at the rules is meant, not a load. */
	for (int i = 0; r && i < 8 && in.at < in.end; i++)
		step(r, &in);
	fst3fs_close(r);
	return 0;
}

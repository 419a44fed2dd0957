/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

uint8_t fixture_byte(unsigned salt, uint64_t offset)
{
	uint64_t x = (offset / 8 + salt * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;

	return (uint8_t)((x ^ (x >> 31)) >> (offset % 8 * 8));
}

const char *fixture_file(const char *name, unsigned salt, uint64_t size)
{
	static char paths[16][160];
	static unsigned turn;
	char *path = paths[turn++ % 16];
	uint8_t *bytes = malloc(size ? size : 1);
	int fd;

	snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = fixture_byte(salt, i);
	fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
	free(bytes);
	return path;
}

void fixture_check(const uint8_t *bytes, unsigned salt, uint64_t offset, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != fixture_byte(salt, offset + i))
			fail_msg("byte %llu of the range at %llu differs", (unsigned long long)i,
				 (unsigned long long)offset);
}

struct fst3fs_reader *fixture_reader_with(const struct io_fault_config *config, const struct fst3fs_options *o)
{
	struct fst3fs_reader *r;
	struct fst3fs_error err;

	memcpy(&io_fault_config, config, sizeof(*config));
	atomic_store(&io_fault_requests, 0);
	atomic_store(&io_fault_most, 0);
	assert_int_equal(fst3fs_reader_open_with(o, &io_fault, scratch, &r, &err), 0);
	return r;
}

struct fst3fs_reader *fixture_reader(const struct io_fault_config *config, uint64_t buffer, int entries,
				     uint32_t timeout_ms)
{
	struct fst3fs_options o;

	fst3fs_options_init(&o);
	o.buffer_size = buffer;
	o.entries = entries;
	o.timeout_ms = timeout_ms;
	return fixture_reader_with(config, &o);
}

int fixture_setup(void **state)
{
	(void)state;
	snprintf(scratch, sizeof(scratch), "/tmp/fst3fs-reader-XXXXXX");
	return mkdtemp(scratch) ? 0 : -1;
}

int fixture_teardown(void **state)
{
	DIR *dir = opendir(scratch);
	struct dirent *entry;

	(void)state;
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(scratch);
	/* What was given up is answered to the end, so that a leak checker sees an empty house. */
	atomic_store(&io_fault_config.hold, false);
	usleep(20000);
	return atomic_load(&io_fault_in_flight) == 0 && atomic_load(&io_fault_regions) == 0 ? 0 : -1;
}

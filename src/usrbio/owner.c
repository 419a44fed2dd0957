/* SPDX-License-Identifier: Apache-2.0 */
#include "owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"

enum { PID_BITS = 22, START_BITS = 36, NS_BITS = 24, RANDOM_BITS = 40, VERSION = 8 };

/* As much of it as an id holds. */
static uint64_t start_time(pid_t pid)
{
	return fst3fs_process_start(pid) & ((1ull << START_BITS) - 1);
}

struct usrbio_owner usrbio_owner_self(void)
{
	struct usrbio_owner self = {.pid = getpid()};
	struct stat st;

	self.start = start_time(self.pid);
	if (stat("/proc/self/ns/pid", &st) == 0)
		self.pid_ns = (uint32_t)st.st_ino & ((1u << NS_BITS) - 1);
	return self;
}

/* Position in the id of free bit `i`: past the version's four bits and the variant's two. */
static int bit_position(int i)
{
	if (i < 48)
		return i;
	return i < 60 ? i + 4 : i + 6;
}

static int put_bits(uint8_t id[16], int at, uint64_t value, int count)
{
	for (int i = 0; i < count; i++) {
		int pos = bit_position(at + i);

		if (value >> (count - 1 - i) & 1)
			id[pos / 8] |= (uint8_t)(0x80 >> pos % 8);
	}
	return at + count;
}

static uint64_t get_bits(const uint8_t id[16], int *at, int count)
{
	uint64_t value = 0;

	for (int i = 0; i < count; i++) {
		int pos = bit_position((*at)++);

		value = value << 1 | (id[pos / 8] >> (7 - pos % 8) & 1);
	}
	return value;
}

int usrbio_owner_encode(const struct usrbio_owner *owner, uint8_t id[16])
{
	uint64_t random = 0;
	int at = 0;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return errno ? -errno : -EIO;
	memset(id, 0, 16);
	at = put_bits(id, at, (uint64_t)owner->pid, PID_BITS);
	at = put_bits(id, at, owner->start, START_BITS);
	at = put_bits(id, at, owner->pid_ns, NS_BITS);
	put_bits(id, at, random, RANDOM_BITS);
	id[6] |= VERSION << 4;
	id[8] |= 0x80;
	return 0;
}

bool usrbio_owner_decode(const uint8_t id[16], struct usrbio_owner *owner)
{
	int at = 0;

	if (id[6] >> 4 != VERSION || id[8] >> 6 != 2)
		return false;
	owner->pid = (pid_t)get_bits(id, &at, PID_BITS);
	owner->start = get_bits(id, &at, START_BITS);
	owner->pid_ns = (uint32_t)get_bits(id, &at, NS_BITS);
	return true;
}

bool usrbio_owner_is_dead(const struct usrbio_owner *owner, const struct usrbio_owner *self)
{
	uint64_t start;

	/* Without a namespace's number (no /proc) nothing can be told. Pid 0 is nobody's, and -1 would be everybody. */
	if (!self->pid_ns || owner->pid_ns != self->pid_ns || owner->pid <= 0)
		return false;
	/* Not a look into /proc: where it hides other users' processes they would all seem dead. */
	if (kill(owner->pid, 0) < 0 && errno == ESRCH)
		return true;
	start = start_time(owner->pid);
	return owner->start && start && start != owner->start;
}

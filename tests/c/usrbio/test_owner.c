/* SPDX-License-Identifier: Apache-2.0 */
/* Names that tell their owner, and the sweep of what dead owners left. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "key.h"
#include "owner.h"
#include "shm.h"

struct object {
	char path[128];
};

/* An empty object with the name that `owner` would have given it. */
static void make_object(struct object *o, const char *prefix, const uint8_t id[16])
{
	char uuid[USRBIO_UUID_SIZE];
	int fd;

	usrbio_uuid_print(id, uuid);
	snprintf(o->path, sizeof(o->path), "/dev/shm/%s%s", prefix, uuid);
	fd = open(o->path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void make_owned(struct object *o, const struct usrbio_owner *owner)
{
	uint8_t id[16];

	assert_int_equal(usrbio_owner_encode(owner, id), 0);
	make_object(o, "hf3fs-iov-", id);
}

static bool exists(const struct object *o)
{
	return access(o->path, F_OK) == 0;
}

/* A pid that was a process's a moment ago. */
static pid_t dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void owners_survive_the_way_through_a_name(void **state)
{
	static const struct usrbio_owner cases[] = {
		{.pid = 1, .start = 1, .pid_ns = 1},
		{.pid = (1 << 22) - 1, .start = (1ull << 36) - 1, .pid_ns = (1u << 24) - 1},
		{.pid = 0x2a5a5a, .start = 0x5a5a5a5a5ull, .pid_ns = 0xa5a5a5},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char uuid[USRBIO_UUID_SIZE];
		struct usrbio_owner back;
		uint8_t id[16];

		assert_int_equal(usrbio_owner_encode(&cases[i], id), 0);
		usrbio_uuid_print(id, uuid);
		assert_int_equal(uuid[14], '8');
		assert_non_null(strchr("89ab", uuid[19]));
		assert_true(usrbio_owner_decode(id, &back));
		assert_int_equal(back.pid, cases[i].pid);
		assert_int_equal(back.start, cases[i].start);
		assert_int_equal(back.pid_ns, cases[i].pid_ns);
	}
}

static void two_ids_of_an_owner_differ(void **state)
{
	struct usrbio_owner self = usrbio_owner_self();
	uint8_t a[16], b[16];

	(void)state;
	assert_int_equal(usrbio_owner_encode(&self, a), 0);
	assert_int_equal(usrbio_owner_encode(&self, b), 0);
	assert_memory_not_equal(a, b, 16);
}

static void other_versions_have_no_owner(void **state)
{
	static const char *const others[] = {
		"00000000-0000-0000-0000-000000000000", "f81d4fae-7dec-41d0-a765-00a0c91e6bf6", /* version 4 */
		"f81d4fae-7dec-81d0-c765-00a0c91e6bf6", /* version 8, another variant */
	};
	struct usrbio_owner owner;
	uint8_t id[16];

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_true(usrbio_uuid_parse(others[i], id));
		assert_false(usrbio_owner_decode(id, &owner));
	}
}

static void this_process_knows_itself(void **state)
{
	struct usrbio_owner self = usrbio_owner_self();

	(void)state;
	assert_int_equal(self.pid, getpid());
	assert_true(self.start > 0);
	assert_true(self.pid_ns > 0);
	assert_false(usrbio_owner_is_dead(&self, &self));
}

static void a_child_that_lives_is_not_dead(void **state)
{
	struct usrbio_owner self = usrbio_owner_self(), child;
	int told[2], end[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(told) + pipe(end), 0);
	pid = fork();
	if (pid == 0) {
		close(end[1]);
		child = usrbio_owner_self();
		_exit(write(told[1], &child, sizeof(child)) != sizeof(child) || read(end[0], &byte, 1) != 0);
	}
	assert_int_equal(read(told[0], &child, sizeof(child)), sizeof(child));
	assert_int_equal(child.pid, pid);
	assert_true(child.start > 0);
	assert_false(usrbio_owner_is_dead(&child, &self));
	for (int i = 0; i < 2; i++) {
		close(told[i]);
		close(end[i]);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(usrbio_owner_is_dead(&child, &self));
}

static void an_unknown_start_time_leaves_the_pid_to_decide(void **state)
{
	struct usrbio_owner self = usrbio_owner_self(), other = self;

	(void)state;
	other.start = 0;
	assert_false(usrbio_owner_is_dead(&other, &self));
	other.pid = dead_pid();
	assert_true(usrbio_owner_is_dead(&other, &self));
}

static void nobody_is_not_dead(void **state)
{
	struct usrbio_owner self = usrbio_owner_self(), other = self;

	(void)state;
	other.pid = 0;
	assert_false(usrbio_owner_is_dead(&other, &self));
	self.pid_ns = other.pid_ns = 0;
	other.pid = dead_pid();
	assert_false(usrbio_owner_is_dead(&other, &self));
}

static void the_sweep_takes_what_dead_owners_left_and_nothing_else(void **state)
{
	struct usrbio_owner self = usrbio_owner_self();
	struct usrbio_owner gone = self, reused = self, elsewhere = self;
	struct object live, dead, recycled, foreign, official, other_prefix;
	uint8_t id[16];

	(void)state;
	gone.pid = dead_pid();
	reused.start = self.start + 1; /* our pid, in another life */
	elsewhere.pid = gone.pid;
	elsewhere.pid_ns ^= 1;
	make_owned(&live, &self);
	make_owned(&dead, &gone);
	make_owned(&recycled, &reused);
	make_owned(&foreign, &elsewhere);
	assert_int_equal(usrbio_owner_encode(&gone, id), 0);
	make_object(&other_prefix, "usrbio-test-", id);
	id[6] = (uint8_t)(0x40 | (id[6] & 15));
	make_object(&official, "hf3fs-iov-", id);

	usrbio_shm_sweep(); /* how many it took, other processes that sweep at this moment decide as well */
	assert_true(exists(&live));
	assert_false(exists(&dead));
	assert_false(exists(&recycled));
	assert_true(exists(&foreign));
	assert_true(exists(&official));
	assert_true(exists(&other_prefix));
	unlink(live.path);
	unlink(foreign.path);
	unlink(official.path);
	unlink(other_prefix.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owners_survive_the_way_through_a_name),
		cmocka_unit_test(two_ids_of_an_owner_differ),
		cmocka_unit_test(other_versions_have_no_owner),
		cmocka_unit_test(this_process_knows_itself),
		cmocka_unit_test(a_child_that_lives_is_not_dead),
		cmocka_unit_test(an_unknown_start_time_leaves_the_pid_to_decide),
		cmocka_unit_test(nobody_is_not_dead),
		cmocka_unit_test(the_sweep_takes_what_dead_owners_left_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

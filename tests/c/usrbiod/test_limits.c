/* SPDX-License-Identifier: Apache-2.0 */
/* How many storage requests a daemon has at a time, and which keys it takes. Each test has a daemon of its own. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cm.h"
#include "raw.h"

enum {
	KIB = 1024,
	CHUNK = 64 * KIB,
	REQUESTS = 12,
};

static struct served mount;
static struct raw_shm buf;
static struct raw_ring rings[2];
static uint64_t ino;
static int fd;

/* Two rings of one-request jobs, on a file of small chunks. */
static void start(void)
{
	served_file(&mount, "file", (size_t)2 * REQUESTS * CHUNK);
	fd = raw_open(&mount, "file", &ino);
	raw_shm_make(&buf, (size_t)2 * REQUESTS * CHUNK);
	assert_int_equal(raw_register(&mount, &buf, ""), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(raw_ring_make(&mount, &rings[i], REQUESTS, ".r1.t0"), 0);
}

static void stop(void)
{
	close(fd);
	for (int i = 0; i < 2; i++)
		raw_ring_drop(&mount, &rings[i]);
	assert_int_equal(raw_unregister(&mount, &buf), 0);
	raw_shm_drop(&buf);
	served_stop(&mount);
}

/* Every chunk of the file, by turns through one ring and the other, all at once; checks the bytes. */
static void read_all(void)
{
	for (uint64_t i = 0; i < 2 * REQUESTS; i++)
		raw_prep(&rings[i % 2], &buf, i * CHUNK, ino, i * CHUNK, CHUNK);
	raw_post(&rings[0]);
	for (int i = 0; i < 2 * REQUESTS; i++)
		assert_int_equal(raw_wait(&rings[i % 2]).result, CHUNK);
	for (uint64_t i = 0; i < buf.size; i++) {
		if (buf.base[i] != served_byte(i))
			fail_msg("byte %llu is wrong", (unsigned long long)i);
	}
}

static void all_rings_share_the_limit_of_the_host(void **state)
{
	(void)state;
	served_start(&mount, "--chunk-kb", "64", "--latency-us", "5000", "--host-limit", "3", NULL);
	start();
	read_all();
	assert_int_equal(served_stat(&mount, "storage", "requests"), 2 * REQUESTS);
	assert_int_equal(served_stat(&mount, "storage", "in_flight_max"), 3);
	assert_int_equal(served_stat(&mount, "storage", "in_flight"), 0);
	assert_true(served_stat(&mount, "storage", "waited") > 0);
	stop();
}

static void each_server_has_a_limit(void **state)
{
	(void)state;
	served_start(&mount, "--chunk-kb", "64", "--latency-us", "5000", "--server-limit", "2", "--servers", "2", NULL);
	start();
	read_all();
	assert_int_equal(served_stat(&mount, "storage", "server_max"), 2);
	assert_int_equal(served_stat(&mount, "storage", "in_flight_max"), 4);
	stop();
}

static void without_limits_nobody_waits(void **state)
{
	(void)state;
	served_start(&mount, "--chunk-kb", "64", "--latency-us", "5000", NULL);
	start();
	read_all();
	assert_int_equal(served_stat(&mount, "storage", "requests"), 2 * REQUESTS);
	assert_int_equal(served_stat(&mount, "storage", "waited"), 0);
	stop();
}

/* Reads the file as any program does; the exit status is whether it got a byte. */
static pid_t read_in_a_child(void)
{
	pid_t pid = fork();
	char byte;

	if (pid == 0)
		_exit(pread(fd, &byte, 1, 0) == 1 ? 0 : 1);
	return pid;
}

static void ordinary_reads_are_storage_requests_too(void **state)
{
	int status;

	(void)state;
	served_start(&mount, "--chunk-kb", "64", "--latency-us", "5000", "--host-limit", "1", NULL);
	start();
	assert_int_equal(waitpid(read_in_a_child(), &status, 0) > 0 && WIFEXITED(status), 1);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(served_stat(&mount, "storage", "requests") > 0);
	stop();
}

static void a_daemon_ends_while_requests_wait(void **state)
{
	int status;
	pid_t child;

	(void)state;
	served_start(&mount, "--chunk-kb", "64", "--latency-us", "3600000000", "--host-limit", "1", NULL);
	start();
	raw_prep(&rings[0], &buf, 0, ino, 0, CHUNK);
	raw_prep(&rings[1], &buf, 0, ino, CHUNK, CHUNK);
	raw_post(&rings[0]);
	while (served_stat(&mount, "storage", "requests") < 2)
		usleep(1000);
	child = read_in_a_child();
	while (served_stat(&mount, "storage", "waited") < 2)
		usleep(1000);
	assert_int_equal(served_stat(&mount, "storage", "in_flight"), 1);
	served_stop(&mount);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WIFEXITED(status) && WEXITSTATUS(status) == 1, 1);
	close(fd);
	for (int i = 0; i < 2; i++) {
		sem_close(rings[i].submit);
		raw_shm_drop(&rings[i].shm);
	}
	raw_shm_drop(&buf);
}

static void strict_keys_are_those_of_the_next_3fs(void **state)
{
	struct raw_shm again;
	struct raw_ring ring;

	(void)state;
	served_start(&mount, "--strict-keys", NULL);
	start();
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r-1.t0"), -EINVAL);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0."), -EINVAL);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0.x1"), -EINVAL);
	raw_shm_make(&again, CHUNK);
	memcpy(again.id, buf.id, sizeof(again.id));
	assert_int_equal(raw_register(&mount, &again, ""), -EEXIST);
	assert_int_equal(raw_register(&mount, &again, ".b4096"), -EEXIST);
	raw_shm_drop(&again);
	read_all();
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_rings_share_the_limit_of_the_host),
		cmocka_unit_test(each_server_has_a_limit),
		cmocka_unit_test(without_limits_nobody_waits),
		cmocka_unit_test(ordinary_reads_are_storage_requests_too),
		cmocka_unit_test(a_daemon_ends_while_requests_wait),
		cmocka_unit_test(strict_keys_are_those_of_the_next_3fs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

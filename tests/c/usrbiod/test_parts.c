/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's parts that need neither mount nor clock: grammar, rules, options. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "batch.h"
#include "cm.h"
#include "faults.h"
#include "key.h"
#include "options.h"
#include "say.h"
#include "sigbus.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

/* ---------------------------------------------------------------- key */

static void keys_of_the_grammar_are_understood(void **state)
{
	struct key k;

	(void)state;
	assert_int_equal(key_parse(UUID, false, &k), 0);
	assert_false(k.is_ring);
	assert_int_equal(k.block_size, 0);
	assert_int_equal(k.id[0], 0x01);
	assert_int_equal(k.id[15], 0xef);
	assert_int_equal(key_parse(UUID ".b4096", false, &k), 0);
	assert_int_equal(k.block_size, 4096);
	assert_int_equal(key_parse(UUID ".r-8.pl.t0.f11", false, &k), 0);
	assert_true(k.is_ring && k.has_ring_attr && !k.for_write);
	assert_int_equal(k.io_depth, -8);
	assert_int_equal(k.priority, PRIORITY_LOW);
	assert_int_equal(k.flags, 3);
	assert_int_equal(key_parse(UUID ".w1.ph.t250", false, &k), 0);
	assert_true(k.is_ring && k.for_write);
	assert_int_equal(k.priority, PRIORITY_HIGH);
	assert_int_equal(k.timeout_ms, 250);
	assert_int_equal(key_parse(UUID ".r0", false, &k), 0);
	assert_false(k.has_ring_attr);
	assert_int_equal(k.priority, PRIORITY_NORMAL);
	assert_int_equal(key_parse(UUID ".r0.p", false, &k), 0);
	assert_int_equal(k.priority, PRIORITY_NORMAL);
}

static void other_keys_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"0123",
		"01234567-89AB-cdef-0123-456789abcdef",
		"0123456789ab-cdef-0123-456789abcdef-",
		"01234567-89ab-cdef-0123-456789abcdeg",
		UUID "x",
		UUID ".",
		UUID "..r1.t0",
		UUID ".b",
		UUID ".b0",
		UUID ".b-1",
		UUID ".b 1",
		UUID ".b+1",
		UUID ".b1x",
		UUID ".b99999999999999999999",
		UUID ".r",
		UUID ".r1x.t0",
		UUID ".r--1.t0",
		UUID ".r2147483648.t0",
		UUID ".r1.w1.t0",
		UUID ".r1.px",
		UUID ".r1.phh",
		UUID ".r1.t-1",
		UUID ".r1.f2",
		UUID ".r1.t0.t0",
		UUID ".r1.t0.z1",
		UUID ".t0",
		UUID ".b4096.f1",
	};
	char lots[400];
	struct key k;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (key_parse(bad[i], false, &k) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
	strcpy(lots, UUID ".b");
	memset(lots + strlen(lots), '0', 300);
	lots[338] = '\0';
	assert_int_equal(key_parse(lots, false, &k), -EINVAL);
}

static void strict_keys_have_no_negative_depth(void **state)
{
	static const char *const bad[] = {
		UUID ".r-1.t0", UUID ".w-8.t0", UUID ".r-2147483648.ph.t0",
		UUID ".r1.t0.", UUID "..r1.t0", UUID ".r.t0",
		UUID ".r1.t",	UUID ".r1.f",	UUID ".r1.t0.x",
		UUID ".gdr.d0",
	};
	static const char *const good[] = {
		UUID, UUID ".b1048576", UUID ".r0.t0", UUID ".r1.t0", UUID ".w8.pl.t0.f11", UUID ".r1.p",
	};
	struct key k;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (key_parse(bad[i], true, &k) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (key_parse(good[i], true, &k) != 0)
			fail_msg("'%s' was refused", good[i]);
	}
}

/* ---------------------------------------------------------------- batch */

static void batches_follow_the_rule(void **state)
{
	static const struct {
		int depth, timeout, queued, room, expected;
	} cases[] = {
		{4, 0, 3, 9, 0},       {4, 0, 4, 9, 4},	      {4, 0, 9, 9, 4},	     {4, 0, 9, 3, 0},  {1, 0, 9, 1, 1},
		{1, 0, 0, 9, 0},       {0, 0, 0, 9, 0},	      {0, 0, 7, 9, 7},	     {0, 0, 7, 3, 3},  {0, 0, 7, 0, 0},
		{0, 0, 7, -2, 0},      {-4, 0, 3, 9, 3},      {-4, 0, 9, 9, 4},	     {-4, 0, 9, 2, 2}, {-4, 0, 0, 9, 0},
		{-4, 5, 3, 9, 0},      {-4, 5, 4, 9, 4},      {-4, 5, 9, 2, 2},	     {-1, 5, 1, 9, 1}, {4, 5, 3, 9, 0},
		{INT_MIN, 0, 5, 9, 5}, {INT_MIN, 1, 5, 9, 0}, {INT_MAX, 0, 5, 9, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(batch_next(cases[i].depth, cases[i].timeout, cases[i].queued, cases[i].room),
				 cases[i].expected);
}

/* ---------------------------------------------------------------- the rest */

static void faults_come_each_nth_time(void **state)
{
	struct faults f = {.every = {[FAULT_HANG] = 6, [FAULT_FAIL] = 4, [FAULT_SHORT] = 3}};
	static const enum fault expected[12] = {0, 0,	       FAULT_SHORT, FAULT_FAIL, 0, FAULT_HANG,
						0, FAULT_FAIL, FAULT_SHORT, 0,		0, FAULT_HANG};

	(void)state;
	for (int i = 0; i < 12; i++)
		assert_int_equal(faults_next(&f), expected[i]);
	assert_int_equal(atomic_load(&f.made[FAULT_FAIL]), 2);
}

static void memory_that_shrinks_reads_as_zeros(void **state)
{
	int fd = memfd_create("guarded", MFD_CLOEXEC);
	volatile uint8_t *mem;
	struct sigbus_area *g;

	(void)state;
	assert_int_equal(sigbus_init(), 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	mem = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g = sigbus_watch((void *)mem, 8192);
	assert_non_null(g);
	mem[5000] = 7;
	assert_false(sigbus_hit(g));
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(mem[5000], 0);
	assert_true(sigbus_hit(g));
	mem[5001] = 1;
	assert_int_equal(mem[5001], 1);
	sigbus_unwatch(g);
	munmap((void *)mem, 8192);
	close(fd);
}

static enum options_verdict parse(struct options *o, const char *a, const char *b, const char *c, const char *d)
{
	char *argv[] = {(char *)"usrbiod", (char *)a, (char *)b, (char *)c, (char *)d, NULL};
	int argc = 5;

	while (argc > 1 && !argv[argc - 1])
		argc--;
	optind = 1;
	return options_parse(argc, argv, o);
}

static void options_are_checked(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "back", "mnt", NULL, NULL), OPTIONS_RUN);
	assert_int_equal(o.chunk_kb, 1024);
	assert_int_equal(o.workers, 112);
	assert_int_equal(parse(&o, "--latency-us", "500", "back", "mnt"), OPTIONS_RUN);
	assert_int_equal(o.latency_us, 500);
	assert_int_equal(parse(&o, "--latency-us", "5x", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--latency-us", "-5", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--chunk-kb", "0", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--cluster", "a,b", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--stats", "-", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--nonsense", "back", "mnt", NULL), OPTIONS_BAD);
	assert_int_equal(parse(&o, "-o", "rw", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "back", NULL, NULL, NULL), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--host-limit", "32", "back", "mnt"), OPTIONS_BAD); /* nothing takes time */
	assert_int_equal(parse(&o, "--servers", "4", "back", "mnt"), OPTIONS_BAD);     /* nothing is limited */
	assert_int_equal(parse(&o, "--servers=0", "--latency-us=1", "back", "mnt"), OPTIONS_BAD);
	assert_int_equal(parse(&o, "--server-limit=8", "--latency-us=1", "back", "mnt"), OPTIONS_RUN);
	assert_int_equal(o.server_limit, 8);
	assert_int_equal(o.host_limit, 0);
	assert_int_equal(o.servers, 16);
	assert_int_equal(parse(&o, "--help", NULL, NULL, NULL), OPTIONS_EXIT);
	assert_int_equal(parse(&o, "--version", NULL, NULL, NULL), OPTIONS_EXIT);
}

static void what_clients_do_is_said_once_a_second(void **state)
{
	char said[256] = {0};
	int ends[2], before = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	for (int i = 0; i < 1000; i++)
		say_seldom("the %dth", i);
	dup2(before, STDERR_FILENO);
	close(before);
	close(ends[1]);
	assert_true(read(ends[0], said, sizeof(said) - 1) > 0);
	assert_string_equal(said, "usrbiod: the 0th\n");
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_of_the_grammar_are_understood),
		cmocka_unit_test(other_keys_are_refused),
		cmocka_unit_test(strict_keys_have_no_negative_depth),
		cmocka_unit_test(batches_follow_the_rule),
		cmocka_unit_test(faults_come_each_nth_time),
		cmocka_unit_test(memory_that_shrinks_reads_as_zeros),
		cmocka_unit_test(options_are_checked),
		cmocka_unit_test(what_clients_do_is_said_once_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

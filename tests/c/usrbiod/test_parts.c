/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's parts that need no mount: arithmetic, grammar, rules. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"
#include "cm.h"
#include "faults.h"
#include "key.h"
#include "link.h"
#include "options.h"
#include "sigbus.h"
#include "timer.h"
#include "transfer.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

enum {
	MIB = 1 << 20,
};

/* ---------------------------------------------------------------- key */

static void keys_of_the_grammar_are_understood(void **state)
{
	struct key k;

	(void)state;
	assert_int_equal(key_parse(UUID, &k), 0);
	assert_false(k.is_ring);
	assert_int_equal(k.block_size, 0);
	assert_int_equal(k.id[0], 0x01);
	assert_int_equal(k.id[15], 0xef);
	assert_int_equal(key_parse(UUID ".b4096", &k), 0);
	assert_int_equal(k.block_size, 4096);
	assert_int_equal(key_parse(UUID ".r-8.pl.t0.f11", &k), 0);
	assert_true(k.is_ring && k.has_ring_attr && !k.for_write);
	assert_int_equal(k.io_depth, -8);
	assert_int_equal(k.priority, PRIORITY_LOW);
	assert_int_equal(k.flags, 3);
	assert_int_equal(key_parse(UUID ".w1.ph.t250", &k), 0);
	assert_true(k.is_ring && k.for_write);
	assert_int_equal(k.priority, PRIORITY_HIGH);
	assert_int_equal(k.timeout_ms, 250);
	assert_int_equal(key_parse(UUID ".r0", &k), 0);
	assert_false(k.has_ring_attr);
	assert_int_equal(k.priority, PRIORITY_NORMAL);
	assert_int_equal(key_parse(UUID ".r0.p", &k), 0);
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
		if (key_parse(bad[i], &k) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
	strcpy(lots, UUID ".b");
	memset(lots + strlen(lots), '0', 300);
	lots[338] = '\0';
	assert_int_equal(key_parse(lots, &k), -EINVAL);
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

/* ---------------------------------------------------------------- link */

static void wire_time_is_exact(void **state)
{
	(void)state;
	assert_int_equal(link_wire_ns(4000000000ull, 4000000000ull), 1000000000);
	assert_int_equal(link_wire_ns(MIB, 4000000000ull), 262144);
	assert_int_equal(link_wire_ns(1, 3000000000ull), 0);
	assert_int_equal(link_wire_ns(2, 3000000000ull), 1);
	assert_int_equal(link_wire_ns(1ull << 40, 1000000), 1099511627776000ull);
	assert_int_equal(link_wire_ns(12345, 0), 0);
}

static void the_link_is_shared_without_gaps_or_drift(void **state)
{
	struct link l;
	uint64_t last = 0;

	(void)state;
	link_init(&l, &(struct link_config){.bytes_per_s = 4000000000ull});
	for (int i = 0; i < 4000; i++)
		last = link_send(&l, 1000 + (uint64_t)i, MIB);
	assert_int_equal(last, 1000 + 4000ull * 262144);
	/* An idle link starts when asked, not earlier. */
	assert_int_equal(link_send(&l, last + 500, MIB), last + 500 + 262144);
	link_fini(&l);
}

static void a_job_has_a_ceiling_of_its_own(void **state)
{
	struct link l;

	(void)state;
	link_init(&l, &(struct link_config){.bytes_per_s = 4000000000ull, .job_bytes_per_s = 500000000});
	assert_int_equal(link_send(&l, 0, MIB), 2097152);
	/* Another job's bytes only wait for the link. */
	assert_int_equal(link_send(&l, 0, MIB), 262144 + 2097152);
	link_fini(&l);
}

static void jitter_stays_in_its_bounds(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;
	struct link l;

	(void)state;
	link_init(&l, &(struct link_config){.latency_ns = 500, .jitter_ns = 1000});
	assert_true(link_simulates(&l));
	for (int i = 0; i < 20000; i++) {
		uint64_t ready = link_ready_ns(&l, 10000);

		least = ready < least ? ready : least;
		most = ready > most ? ready : most;
	}
	assert_in_range(least, 10500, 10520);
	assert_in_range(most, 11480, 11500);
	link_fini(&l);
	link_init(&l, &(struct link_config){0});
	assert_false(link_simulates(&l));
	link_fini(&l);
}

/* ---------------------------------------------------------------- timer */

struct probe {
	struct timer_event event;
	int *order, *next, name;
	sem_t *fired;
};

static void note(struct timer_event *ev)
{
	struct probe *p = (struct probe *)ev;

	p->order[(*p->next)++] = p->name;
	sem_post(p->fired);
}

static void events_fire_in_the_order_of_their_times(void **state)
{
	enum { N = 1000 };
	static struct probe probes[N];
	static int order[N];
	uint64_t start;
	struct timer *t;
	int next = 0;
	sem_t fired;

	(void)state;
	sem_init(&fired, 0, 0);
	assert_int_equal(timer_start(&t), 0);
	/* Ahead, so that most are in the heap together. */
	start = fst3fs_now_ns() + 100 * FST3FS_NS_PER_MS;
	for (int i = 0; i < N; i++) {
		int at = i * 7919 % N; /* a permutation; pairs share a time, in the order they are added */

		probes[i] =
			(struct probe){{.at_ns = start + (uint64_t)at / 2, .fire = note}, order, &next, at / 2, &fired};
		timer_add(t, &probes[i].event);
	}
	for (int i = 0; i < N; i++)
		sem_wait(&fired);
	for (int i = 1; i < N; i++)
		assert_true(order[i - 1] <= order[i]);
	timer_stop(t);
	timer_free(t);
	sem_destroy(&fired);
}

static void drop_count(struct timer_event *ev)
{
	struct probe *p = (struct probe *)ev;

	++*p->next;
}

static void a_stopped_timer_drops_what_is_left(void **state)
{
	struct probe probes[3];
	struct timer *t;
	int dropped = 0;

	(void)state;
	assert_int_equal(timer_start(&t), 0);
	for (int i = 0; i < 3; i++)
		probes[i] = (struct probe){.event = {.at_ns = UINT64_MAX / 2, .fire = note, .drop = drop_count},
					   .next = &dropped};
	timer_add(t, &probes[0].event);
	timer_add(t, &probes[1].event);
	timer_stop(t);
	assert_int_equal(dropped, 2);
	timer_add(t, &probes[2].event);
	assert_int_equal(dropped, 3);
	timer_free(t);
}

/* ---------------------------------------------------------------- transfer */

static void ranges_are_cut_at_chunks_of_the_file(void **state)
{
	struct piece pieces[8];
	struct transfer x = {.pieces = pieces};

	(void)state;
	assert_int_equal(transfer_pieces(0, 4096, 4096), 1);
	assert_int_equal(transfer_pieces(1, 4096, 4096), 2);
	assert_int_equal(transfer_pieces(4095, 1, 4096), 1);
	assert_int_equal(transfer_pieces(77, 0, 4096), 1);
	assert_int_equal(transfer_cut(&x, 4000, 5000, 4096, 100, 3), 3);
	assert_int_equal(pieces[0].len, 96);
	assert_int_equal(pieces[0].at, 100);
	assert_int_equal(pieces[1].file_off, 4096);
	assert_int_equal(pieces[1].len, 4096);
	assert_int_equal(pieces[1].at, 196);
	assert_int_equal(pieces[2].len, 5000 - 96 - 4096);
	assert_int_equal(pieces[2].request, 3);
}

struct traced {
	struct transfer transfer;
	struct piece pieces[64];
	int arrived;
	uint64_t done_at;
	sem_t done;
};

static void trace_arrival(struct transfer *x, struct piece *p)
{
	struct traced *t = (struct traced *)x;

	/* In the order of readiness. */
	if (p > x->pieces)
		assert_true(p->ready_ns >= p[-1].ready_ns);
	t->arrived++;
}

static void trace_done(struct transfer *x)
{
	struct traced *t = (struct traced *)x;

	t->done_at = x->event.at_ns;
	sem_post(&t->done);
}

static void transfer(struct traced *t, struct storage *storage)
{
	memset(t, 0, sizeof(*t));
	sem_init(&t->done, 0, 0);
	t->transfer =
		(struct transfer){.storage = storage, .pieces = t->pieces, .arrive = trace_arrival, .done = trace_done};
	transfer_cut(&t->transfer, 0, 64 * 4096, 4096, 0, 0);
	transfer_start(&t->transfer);
	while (sem_wait(&t->done))
		;
	sem_destroy(&t->done);
}

/* The times are nominal, so they can be exact although threads wake up late. */
static void a_job_takes_one_latency_and_all_its_bytes(void **state)
{
	struct storage_config config = {
		.link = {.latency_ns = 100000, .bytes_per_s = 4096000000ull, .job_bytes_per_s = 409600000}};
	static struct traced t;
	struct storage storage;

	(void)state;
	assert_int_equal(storage_start(&storage, &config), 0);
	transfer(&t, &storage);
	assert_int_equal(t.arrived, 64);
	/* 64 pieces of 10,000 ns each, behind one latency. */
	assert_int_equal(t.done_at - t.pieces[0].ready_ns, 640000);
	storage_stop(&storage);
	storage_fini(&storage);
	config.link.jitter_ns = 200000;
	assert_int_equal(storage_start(&storage, &config), 0);
	transfer(&t, &storage);
	assert_int_equal(t.arrived, 64);
	assert_true(t.done_at >= t.pieces[63].ready_ns + 10000);
	transfer_sort(&t.transfer);
	for (int i = 0; i < 64; i++)
		assert_int_equal(t.pieces[i].file_off, i * 4096);
	storage_stop(&storage);
	storage_fini(&storage);
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
	assert_int_equal(parse(&o, "--help", NULL, NULL, NULL), OPTIONS_EXIT);
	assert_int_equal(parse(&o, "--version", NULL, NULL, NULL), OPTIONS_EXIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_of_the_grammar_are_understood),
		cmocka_unit_test(other_keys_are_refused),
		cmocka_unit_test(batches_follow_the_rule),
		cmocka_unit_test(wire_time_is_exact),
		cmocka_unit_test(the_link_is_shared_without_gaps_or_drift),
		cmocka_unit_test(a_job_has_a_ceiling_of_its_own),
		cmocka_unit_test(jitter_stays_in_its_bounds),
		cmocka_unit_test(events_fire_in_the_order_of_their_times),
		cmocka_unit_test(a_stopped_timer_drops_what_is_left),
		cmocka_unit_test(ranges_are_cut_at_chunks_of_the_file),
		cmocka_unit_test(a_job_takes_one_latency_and_all_its_bytes),
		cmocka_unit_test(faults_come_each_nth_time),
		cmocka_unit_test(memory_that_shrinks_reads_as_zeros),
		cmocka_unit_test(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

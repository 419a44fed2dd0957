/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated storage without a mount. Its times are nominal, so they can be exact although threads wake up late. */
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "clock.h"
#include "cm.h"
#include "link.h"
#include "storage.h"
#include "timer.h"
#include "transfer.h"

enum {
	MIB = 1 << 20,
};

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

/* One transfer and what is known of it. */
struct traced {
	struct transfer transfer;
	int arrived, dropped;
	uint64_t asked_at_least, asked_at_most, done_at;
	sem_t done;
};

static void trace_arrival(struct transfer *x, struct piece *p)
{
	(void)p;
	((struct traced *)x)->arrived++;
}

static void trace_done(struct transfer *x)
{
	struct traced *t = (struct traced *)x;

	t->done_at = x->event.at_ns;
	sem_post(&t->done);
}

static void trace_drop(struct transfer *x)
{
	((struct traced *)x)->dropped++;
}

/* A range of a file; more of them can be added before begin(). */
static void prepare(struct traced *t, struct storage *storage, uint64_t ino, uint64_t off, uint64_t len)
{
	memset(t, 0, sizeof(*t));
	sem_init(&t->done, 0, 0);
	t->transfer =
		(struct transfer){.storage = storage, .arrive = trace_arrival, .done = trace_done, .drop = trace_drop};
	assert_int_equal(transfer_reserve(&t->transfer, transfer_pieces(storage, off, len)), 0);
	transfer_cut(&t->transfer, ino, off, len, 0, 0);
}

static void begin(struct traced *t)
{
	t->asked_at_least = fst3fs_now_ns();
	transfer_start(&t->transfer);
	t->asked_at_most = fst3fs_now_ns();
}

static void finish(struct traced *t)
{
	while (sem_wait(&t->done))
		;
	assert_int_equal(t->arrived, t->transfer.count);
}

static void discard(struct traced *t)
{
	sem_destroy(&t->done);
	transfer_release(&t->transfer);
}

static void storage_end(struct storage *s)
{
	storage_stop(s);
	storage_fini(s);
}

static void ranges_are_cut_at_chunks_of_the_file(void **state)
{
	struct storage s;
	struct traced t;
	const struct piece *pieces;

	(void)state;
	assert_int_equal(storage_start(&s, &(struct storage_config){.chunk_bytes = 4096, .admission = {.servers = 16}}),
			 0);
	assert_int_equal(transfer_pieces(&s, 0, 4096), 1);
	assert_int_equal(transfer_pieces(&s, 1, 4096), 2);
	assert_int_equal(transfer_pieces(&s, 4095, 1), 1);
	assert_int_equal(transfer_pieces(&s, 77, 0), 1);
	t.transfer = (struct transfer){.storage = &s};
	assert_int_equal(transfer_reserve(&t.transfer, 3), 0);
	assert_int_equal(transfer_cut(&t.transfer, 7, 4000, 5000, 100, 3), 3);
	pieces = t.transfer.pieces;
	assert_int_equal(pieces[0].len, 96);
	assert_int_equal(pieces[0].at, 100);
	assert_int_equal(pieces[1].file_off, 4096);
	assert_int_equal(pieces[1].len, 4096);
	assert_int_equal(pieces[1].at, 196);
	assert_int_equal(pieces[2].len, 5000 - 96 - 4096);
	assert_int_equal(pieces[2].request, 3);
	assert_int_equal(t.transfer.fetch_count, 1);
	transfer_release(&t.transfer);
	storage_end(&s);
}

static void a_job_takes_one_latency_and_all_its_bytes(void **state)
{
	struct storage_config config = {
		.link = {.latency_ns = 100000, .bytes_per_s = 4096000000ull, .job_bytes_per_s = 409600000},
		.admission = {.servers = 16},
		.chunk_bytes = 4096};
	struct storage s;
	struct traced t;
	uint64_t latest = 0;

	(void)state;
	assert_int_equal(storage_start(&s, &config), 0);
	prepare(&t, &s, 7, 0, 64 * 4096);
	begin(&t);
	finish(&t);
	/* 64 pieces of 10,000 ns each, behind one latency. */
	assert_int_equal(t.done_at - t.transfer.fetches[0].event.at_ns, 640000);
	assert_in_range(t.done_at, t.asked_at_least + 740000, t.asked_at_most + 740000);
	discard(&t);
	storage_end(&s);
	config.link.jitter_ns = 200000;
	assert_int_equal(storage_start(&s, &config), 0);
	prepare(&t, &s, 7, 0, 64 * 4096);
	begin(&t);
	finish(&t);
	for (int i = 0; i < t.transfer.fetch_count; i++) {
		uint64_t at = t.transfer.fetches[i].event.at_ns;

		latest = at > latest ? at : latest;
	}
	assert_true(t.done_at >= latest + 10000);
	discard(&t);
	storage_end(&s);
}

static void pieces_that_are_asked_for_late_take_no_less_time(void **state)
{
	enum { PIECES = 20000 };
	struct storage s;
	struct traced t;

	(void)state;
	/* The pieces of a storage request pass in less time than asking for one takes. */
	assert_int_equal(storage_start(&s, &(struct storage_config){.link = {.job_bytes_per_s = 409600000000ull},
								    .admission = {.host = 1000000, .servers = 1},
								    .chunk_bytes = 4096}),
			 0);
	prepare(&t, &s, 7, 0, PIECES * 4096ull);
	begin(&t);
	finish(&t);
	assert_int_equal(t.done_at - t.transfer.fetches[0].event.at_ns, PIECES * 10);
	discard(&t);
	storage_end(&s);
}

/* ---------------------------------------------------------------- limits */

#define LATENCY (200 * FST3FS_NS_PER_MS)

static void limited_start(struct storage *s, int host, int server, int servers)
{
	assert_int_equal(
		storage_start(
			s, &(struct storage_config){.link = {.latency_ns = LATENCY},
						    .admission = {.host = host, .server = server, .servers = servers},
						    .chunk_bytes = MIB}),
		0);
}

static void the_host_has_so_many_storage_requests_at_a_time(void **state)
{
	struct admission_counts counts;
	struct traced t[6];
	struct storage s;

	(void)state;
	limited_start(&s, 2, 0, 16);
	for (int i = 0; i < 6; i++) {
		prepare(&t[i], &s, (uint64_t)i, 0, MIB);
		begin(&t[i]);
	}
	for (int i = 0; i < 6; i++)
		finish(&t[i]);
	for (int i = 0; i < 2; i++)
		assert_in_range(t[i].done_at, t[i].asked_at_least + LATENCY, t[i].asked_at_most + LATENCY);
	/* Each other one begins, to the nanosecond, when the one two before it ends. */
	for (int i = 2; i < 6; i++)
		assert_int_equal(t[i].done_at, t[i - 2].done_at + LATENCY);
	admission_count(&s.admission, &counts);
	assert_int_equal(counts.requests, 6);
	assert_int_equal(counts.waited, 4);
	assert_int_equal(counts.in_flight, 0);
	assert_int_equal(counts.in_flight_max, 2);
	for (int i = 0; i < 6; i++)
		discard(&t[i]);
	storage_end(&s);
}

static void a_busy_server_keeps_nobody_from_another(void **state)
{
	enum { FIRST, SAME, OTHER, TRANSFERS };
	struct admission_counts counts;
	struct traced t[TRANSFERS];
	struct storage s;

	(void)state;
	limited_start(&s, 2, 1, 2);
	assert_int_equal(storage_server(&s, 7, 0), storage_server(&s, 7, 2 * MIB));
	assert_int_not_equal(storage_server(&s, 7, 0), storage_server(&s, 7, MIB));
	prepare(&t[FIRST], &s, 7, 0, MIB);
	prepare(&t[SAME], &s, 7, 2 * MIB, MIB);
	prepare(&t[OTHER], &s, 7, MIB, MIB);
	for (int i = 0; i < TRANSFERS; i++)
		begin(&t[i]);
	for (int i = 0; i < TRANSFERS; i++)
		finish(&t[i]);
	assert_int_equal(t[SAME].done_at, t[FIRST].done_at + LATENCY);
	/* It did not wait, although it came last. */
	assert_in_range(t[OTHER].done_at, t[OTHER].asked_at_least + LATENCY, t[OTHER].asked_at_most + LATENCY);
	admission_count(&s.admission, &counts);
	assert_int_equal(counts.server_max, 1);
	assert_int_equal(counts.in_flight_max, 2);
	for (int i = 0; i < TRANSFERS; i++)
		discard(&t[i]);
	storage_end(&s);
}

static void what_a_job_wants_of_a_server_is_one_storage_request(void **state)
{
	struct storage s;
	struct traced t;

	(void)state;
	limited_start(&s, 0, 1, 2);
	/* Eight chunks, four on each server: as much as fits into one. */
	prepare(&t, &s, 7, 0, 8 * MIB);
	assert_int_equal(t.transfer.fetch_count, 2);
	for (int i = 0; i < 8; i++)
		assert_ptr_equal(t.transfer.pieces[i].fetch, &t.transfer.fetches[i % 2]);
	begin(&t);
	finish(&t);
	assert_in_range(t.done_at, t.asked_at_least + LATENCY, t.asked_at_most + LATENCY);
	discard(&t);
	/* Two more are two more of them, which wait for the first two. */
	prepare(&t, &s, 7, 0, 10 * MIB);
	assert_int_equal(t.transfer.fetch_count, 4);
	begin(&t);
	finish(&t);
	assert_in_range(t.done_at, t.asked_at_least + 2 * LATENCY, t.asked_at_most + 2 * LATENCY);
	discard(&t);
	storage_end(&s);
}

static void a_storage_request_ends_when_its_last_byte_has_passed(void **state)
{
	struct traced first, second;
	struct storage s;

	(void)state;
	assert_int_equal(
		storage_start(&s, &(struct storage_config){.link = {.latency_ns = LATENCY, .bytes_per_s = 1000000000},
							   .admission = {.host = 1, .servers = 1},
							   .chunk_bytes = MIB}),
		0);
	prepare(&first, &s, 7, 0, 2 * MIB);
	prepare(&second, &s, 8, 0, MIB);
	begin(&first);
	begin(&second);
	finish(&first);
	finish(&second);
	assert_int_equal(second.transfer.fetches[0].event.at_ns, first.done_at + LATENCY);
	assert_int_equal(second.done_at, first.done_at + LATENCY + link_wire_ns(MIB, 1000000000));
	discard(&first);
	discard(&second);
	storage_end(&s);
}

static void stopped_storage_drops_each_transfer_once(void **state)
{
	struct traced t[5];
	struct storage s;

	(void)state;
	/* The first one waits out its latency for an hour, the second one for it at its server, those of other servers
	 * for the host; the last one comes too late. */
	assert_int_equal(storage_start(&s, &(struct storage_config){.link = {.latency_ns = 3600 * FST3FS_NS_PER_S},
								    .admission = {.host = 1, .server = 1, .servers = 4},
								    .chunk_bytes = MIB}),
			 0);
	prepare(&t[0], &s, 7, 0, MIB);
	prepare(&t[1], &s, 7, 4 * MIB, MIB);
	prepare(&t[2], &s, 7, MIB, MIB);
	prepare(&t[3], &s, 7, 0, 3 * MIB);
	prepare(&t[4], &s, 7, 0, 3 * MIB);
	for (int i = 0; i < 4; i++)
		begin(&t[i]);
	storage_stop(&s);
	begin(&t[4]);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(t[i].dropped, 1);
		assert_int_equal(t[i].arrived, 0);
		discard(&t[i]);
	}
	storage_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wire_time_is_exact),
		cmocka_unit_test(the_link_is_shared_without_gaps_or_drift),
		cmocka_unit_test(a_job_has_a_ceiling_of_its_own),
		cmocka_unit_test(jitter_stays_in_its_bounds),
		cmocka_unit_test(events_fire_in_the_order_of_their_times),
		cmocka_unit_test(a_stopped_timer_drops_what_is_left),
		cmocka_unit_test(ranges_are_cut_at_chunks_of_the_file),
		cmocka_unit_test(a_job_takes_one_latency_and_all_its_bytes),
		cmocka_unit_test(pieces_that_are_asked_for_late_take_no_less_time),
		cmocka_unit_test(the_host_has_so_many_storage_requests_at_a_time),
		cmocka_unit_test(a_busy_server_keeps_nobody_from_another),
		cmocka_unit_test(what_a_job_wants_of_a_server_is_one_storage_request),
		cmocka_unit_test(a_storage_request_ends_when_its_last_byte_has_passed),
		cmocka_unit_test(stopped_storage_drops_each_transfer_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints and streams of their tensors, over a transport that shuffles and fails. */
#include "fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB 1024ull
enum { TENSORS = 40, FILES = 3 };

static const struct io_fault_config shuffled = {.seed = 9, .max_delay_us = 150, .full_one_in = 6};

/* Tensor number n of a file has n * n * 7 bytes: the first is empty, most begin at odd places. */
static uint64_t bytes_of(size_t n)
{
	return n * n * 7;
}

/* A file whose data are those of the fixture with `salt`, behind a header that fits them. Where data begin. */
static uint64_t write_file(const char *name, unsigned salt, const char **path)
{
	char *json = malloc(TENSORS * 160ull);
	uint64_t at = 0, length, begin;
	int n = sprintf(json, "{");
	uint8_t *bytes;
	FILE *file;

	for (size_t i = 0; i < TENSORS; i++) {
		n += sprintf(json + n,
			     "%s\"%s.t%zu\":{\"dtype\":\"U8\",\"shape\":[%" PRIu64 "],\"data_offsets\":[%" PRIu64
			     ",%" PRIu64 "]}",
			     i ? "," : "", name, i, bytes_of(i), at, at + bytes_of(i));
		at += bytes_of(i);
	}
	n += sprintf(json + n, "}");
	length = (uint64_t)n;
	begin = 8 + length;
	*path = fixture_file(name, salt, begin + at);
	file = fopen(*path, "r+");
	bytes = (uint8_t *)&length;
	fwrite(bytes, 1, 8, file);
	fwrite(json, 1, length, file);
	fclose(file);
	free(json);
	return begin;
}

struct model {
	const char *paths[FILES];
	uint64_t begins[FILES];
	struct fst3fs_reader *reader;
	struct fst3fs_checkpoint *checkpoint;
};

static void model_open(struct model *m, const struct io_fault_config *config, uint64_t buffer)
{
	static const char *const names[FILES] = {"a", "b", "c"};
	struct fst3fs_error err;

	for (unsigned i = 0; i < FILES; i++)
		m->begins[i] = write_file(names[i], i + 1, &m->paths[i]);
	m->reader = fixture_reader(config, buffer, 4, 5000);
	if (fst3fs_checkpoint_open(m->reader, m->paths, FILES, &m->checkpoint, &err) < 0)
		fail_msg("%s: %s", err.path, err.text);
}

static void model_close(struct model *m)
{
	fst3fs_checkpoint_free(m->checkpoint);
	fst3fs_close(m->reader);
}

static void check_tensor(const struct model *m, size_t i, const uint8_t *bytes)
{
	struct fst3fs_tensor t;

	assert_int_equal(fst3fs_checkpoint_tensor(m->checkpoint, i, &t), 0);
	fixture_check(bytes, (unsigned)t.file + 1, t.offset, t.length);
	assert_int_equal(bytes[t.length], 0xa5);
}

static uint8_t *room(const struct model *m, size_t i)
{
	struct fst3fs_tensor t;
	uint8_t *p;

	assert_int_equal(fst3fs_checkpoint_tensor(m->checkpoint, i, &t), 0);
	p = malloc(t.length + 1);
	memset(p, 0xa5, t.length + 1);
	return p;
}

static void names_lead_to_tensors(void **state)
{
	struct fst3fs_tensor t;
	struct model m;

	(void)state;
	model_open(&m, &shuffled, 64 * KIB);
	assert_int_equal(fst3fs_checkpoint_count(m.checkpoint), FILES * TENSORS);
	assert_int_equal(fst3fs_checkpoint_file_count(m.checkpoint), FILES);
	for (size_t i = 0; i < FILES * TENSORS; i++) {
		assert_int_equal(fst3fs_checkpoint_tensor(m.checkpoint, i, &t), 0);
		assert_int_equal(fst3fs_checkpoint_find(m.checkpoint, t.name), i);
		assert_string_equal(t.dtype, "U8");
	}
	assert_int_equal(fst3fs_checkpoint_find(m.checkpoint, "a.t40"), -ENOENT);
	assert_int_equal(fst3fs_checkpoint_tensor(m.checkpoint, FILES * TENSORS, &t), -EINVAL);
	assert_string_equal(fst3fs_checkpoint_file(m.checkpoint, 1), m.paths[1]);
	assert_null(fst3fs_checkpoint_file(m.checkpoint, FILES));
	model_close(&m);
	fst3fs_checkpoint_free(NULL);
}

static void every_tensor_comes_once_in_order(void **state)
{
	static const uint64_t aheads[] = {0, 1000, 50000, 1 << 30};
	uint8_t *places[FILES * TENSORS];
	struct fst3fs_error err;

	(void)state;
	for (size_t a = 0; a < sizeof(aheads) / sizeof(aheads[0]); a++) {
		struct fst3fs_stream_options o;
		struct fst3fs_stream_info info = {.size = sizeof(info)};
		struct fst3fs_stream *s;
		struct model m;
		size_t i, next = 0;

		model_open(&m, &shuffled, 32 * KIB);
		fst3fs_stream_options_init(&o);
		o.ahead = aheads[a];
		assert_int_equal(fst3fs_stream_open(m.reader, m.checkpoint, NULL, 0, &o, &s, &err), 0);
		do {
			while (fst3fs_stream_wants(s, &i)) {
				places[i] = room(&m, i);
				assert_int_equal(fst3fs_stream_give(s, (uint64_t)(uintptr_t)places[i], &err), 0);
			}
			if (fst3fs_stream_next(s, &i, &err) != 1)
				break;
			assert_int_equal(i, next++);
			check_tensor(&m, i, places[i]);
			free(places[i]); /* the stream has no more to do with it */
		} while (true);
		assert_int_equal(next, FILES * TENSORS);
		assert_int_equal(fst3fs_stream_give(s, 1, &err), -EINVAL);
		fst3fs_stream_get_info(s, &info);
		assert_int_equal(info.taken, info.wanted);
		assert_int_equal(info.requested, info.wanted);
		fst3fs_stream_close(s);
		model_close(&m);
	}
}

static void a_tensor_without_an_address_is_not_waited_for(void **state)
{
	struct fst3fs_stream *s;
	struct fst3fs_error err;
	struct model m;
	size_t i;

	(void)state;
	model_open(&m, &shuffled, 64 * KIB);
	assert_int_equal(fst3fs_stream_open(m.reader, m.checkpoint, NULL, 0, NULL, &s, &err), 0);
	assert_int_equal(fst3fs_stream_next(s, &i, &err), -EINVAL);
	fst3fs_stream_close(s);
	fst3fs_stream_close(NULL);
	model_close(&m);
}

static void a_selection_reads_what_it_wants(void **state)
{
	const size_t which[] = {2 * TENSORS + 5, 3, 39, TENSORS};
	uint64_t addresses[4];
	uint8_t *places[4];
	struct fst3fs_info info = {.size = sizeof(info)};
	struct fst3fs_error err;
	struct model m;

	(void)state;
	model_open(&m, &shuffled, 64 * KIB);
	for (size_t i = 0; i < 4; i++) {
		places[i] = room(&m, which[i]);
		addresses[i] = (uint64_t)(uintptr_t)places[i];
	}
	assert_int_equal(fst3fs_read_tensors(m.reader, m.checkpoint, which, addresses, 4, &err), 0);
	for (size_t i = 0; i < 4; i++) {
		check_tensor(&m, which[i], places[i]);
		free(places[i]);
	}
	fst3fs_get_info(m.reader, &info);
	assert_int_equal(info.bytes, bytes_of(5) + bytes_of(3) + bytes_of(39));
	assert_int_equal(fst3fs_read_tensors(m.reader, m.checkpoint, (size_t[]){3, 3}, addresses, 2, &err), -EINVAL);
	assert_int_equal(fst3fs_read_tensors(m.reader, m.checkpoint, (size_t[]){999}, addresses, 1, &err), -EINVAL);
	model_close(&m);
}

static void an_error_ends_the_stream_and_nothing_is_in_flight(void **state)
{
	const struct io_fault_config failing = {.seed = 3, .max_delay_us = 100, .fail_nth = 9, .fail_code = -EREMOTEIO};
	uint8_t *places[FILES * TENSORS] = {NULL};
	struct fst3fs_stream *s;
	struct fst3fs_error err;
	struct model m;
	size_t i, n = 0;
	int rc;

	(void)state;
	model_open(&m, &failing, 16 * KIB);
	assert_int_equal(fst3fs_stream_open(m.reader, m.checkpoint, NULL, 0, NULL, &s, &err), 0);
	do {
		while (fst3fs_stream_wants(s, &i)) {
			places[i] = room(&m, i);
			assert_int_equal(fst3fs_stream_give(s, (uint64_t)(uintptr_t)places[i], &err), 0);
		}
		rc = fst3fs_stream_next(s, &i, &err);
		if (rc == 1)
			check_tensor(&m, i, places[n++]);
	} while (rc == 1);
	assert_int_equal(rc, -EREMOTEIO);
	assert_in_range(err.index, n, FILES * TENSORS - 1);
	assert_true(err.path[0] != '\0');
	fst3fs_stream_close(s);
	assert_int_equal(atomic_load(&io_fault_in_flight), 0);
	for (i = 0; i < FILES * TENSORS; i++)
		free(places[i]);
	model_close(&m);
}

static void a_file_that_became_shorter_is_an_error(void **state)
{
	const size_t last = FILES * TENSORS - 1;
	struct fst3fs_error err;
	struct model m;
	uint8_t *p;

	(void)state;
	model_open(&m, &shuffled, 64 * KIB);
	assert_int_equal(truncate(m.paths[2], 5000), 0);
	p = room(&m, last);
	assert_int_equal(
		fst3fs_read_tensors(m.reader, m.checkpoint, &last, (uint64_t[]){(uint64_t)(uintptr_t)p}, 1, &err),
		-EINVAL);
	assert_int_equal(err.kind, FST3FS_ERROR_VALUE);
	assert_string_equal(err.path, m.paths[2]);
	free(p);
	model_close(&m);
}

static void closed_early_it_reads_no_more(void **state)
{
	struct fst3fs_error err;
	struct model m;

	(void)state;
	model_open(&m, &shuffled, 8 * KIB);
	for (unsigned delay = 0; delay < 2000; delay += 200) {
		uint8_t *places[FILES * TENSORS];
		struct fst3fs_stream *s;
		size_t i, given = 0;

		assert_int_equal(fst3fs_stream_open(m.reader, m.checkpoint, NULL, 0, NULL, &s, &err), 0);
		while (fst3fs_stream_wants(s, &i)) {
			places[given] = room(&m, i);
			assert_int_equal(fst3fs_stream_give(s, (uint64_t)(uintptr_t)places[given++], &err), 0);
		}
		usleep(delay);
		fst3fs_stream_close(s);
		assert_int_equal(atomic_load(&io_fault_in_flight), 0);
		while (given > 0)
			free(places[--given]);
	}
	model_close(&m);
}

enum { MANY = 60 };

struct whole_buffer {
	struct fst3fs_reader *reader;
	const char *path;
	_Atomic int64_t result; /* 0 = not there yet */
};

static void *read_in_turn(void *arg)
{
	struct whole_buffer *w = arg;

	w->result = fst3fs_read(w->reader, w->path, 0, 0, 1000, 0, FST3FS_READ_IN_TURN, NULL);
	return NULL;
}

/* Gives what is wanted and takes a tensor. */
static bool take_one(struct fst3fs_stream *s)
{
	struct fst3fs_error err;
	size_t i;
	int rc;

	while (fst3fs_stream_wants(s, &i))
		assert_int_equal(fst3fs_stream_give(s, 0, &err), 0);
	rc = fst3fs_stream_next(s, &i, &err);
	assert_in_range(rc, 0, 1);
	return rc == 1;
}

static void a_read_that_needs_the_whole_buffer_has_its_turn(void **state)
{
	const struct io_fault_config slow = {.seed = 4, .max_delay_us = 4000};
	struct fst3fs_stream_options o;
	struct fst3fs_checkpoint *checkpoint;
	const char *paths[MANY];
	struct whole_buffer w = {0};
	struct fst3fs_stream *s;
	struct fst3fs_error err;
	pthread_t thread;
	size_t taken = 1;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		write_file(name, i, &paths[i]);
		paths[i] = strdup(paths[i]); /* the fixture keeps a few alone */
	}
	w.reader = fixture_reader(&slow, 64 * KIB, 4, 5000);
	w.path = paths[0];
	assert_int_equal(fst3fs_checkpoint_open(w.reader, paths, MANY, &checkpoint, &err), 0);
	fst3fs_stream_options_init(&o);
	o.ahead = 600000; /* four files: there is always one more to read */
	assert_int_equal(fst3fs_stream_open(w.reader, checkpoint, NULL, 0, &o, &s, &err), 0);
	assert_true(take_one(s));
	pthread_create(&thread, NULL, read_in_turn, &w);
	while (w.result == 0 && take_one(s))
		taken++;
	assert_in_range(taken, 1, MANY * TENSORS / 2);
	while (take_one(s))
		taken++;
	assert_int_equal(taken, MANY * TENSORS);
	pthread_join(thread, NULL);
	assert_int_equal(w.result, 1000);
	fst3fs_stream_close(s);
	fst3fs_checkpoint_free(checkpoint);
	fst3fs_close(w.reader);
	for (size_t i = 0; i < MANY; i++)
		free((char *)paths[i]);
}

/* A file of 40 tensors of `each` bytes, all holes. */
static const char *write_wide(uint64_t each)
{
	char json[TENSORS * 100];
	const char *path;
	uint64_t length;
	FILE *file;
	int n = 0;

	for (uint64_t i = 0; i < TENSORS; i++)
		n += sprintf(json + n,
			     "%s\"t%" PRIu64 "\":{\"dtype\":\"U8\",\"shape\":[%" PRIu64 "],\"data_offsets\":[%" PRIu64
			     ",%" PRIu64 "]}",
			     i ? "," : "{", i, each, i * each, (i + 1) * each);
	n += sprintf(json + n, "}");
	length = (uint64_t)n;
	path = fixture_file("wide", 1, 8 + length);
	file = fopen(path, "r+");
	fwrite(&length, 8, 1, file);
	fwrite(json, 1, length, file);
	fclose(file);
	assert_int_equal(truncate(path, (off_t)(8 + length + TENSORS * each)), 0);
	return path;
}

/* Until nothing is left to read of what has an address. */
static void starve(struct fst3fs_stream *s)
{
	struct fst3fs_stream_info info = {.size = sizeof(info)};
	uint64_t before;

	fst3fs_stream_get_info(s, &info);
	before = info.idle_ns;
	for (int i = 0; i < 20000 && info.idle_ns < before + 1000000; i++) {
		usleep(1000);
		fst3fs_stream_get_info(s, &info);
	}
	assert_true(info.idle_ns > before);
}

static size_t give_all(struct fst3fs_stream *s)
{
	struct fst3fs_error err;
	size_t i, given = 0;

	for (; fst3fs_stream_wants(s, &i); given++)
		assert_int_equal(fst3fs_stream_give(s, 0, &err), 0);
	return given;
}

/* How many tensors are under way, first and after each time that the reading had to wait: two runs of 64 MiB, and twice
 * as much each time, up to the 512 MiB of the default. Of the second kind two, because they share a run. */
static const struct {
	uint64_t each;
	size_t under_way[4];
} wide[] = {
	{16 << 20, {8, 16, 32, 32}},
	{150 << 20, {2, 3, 3, 3}},
};

static void it_goes_further_ahead_for_who_needs_it(void **state)
{
	(void)state;
	for (size_t w = 0; w < sizeof(wide) / sizeof(wide[0]); w++) {
		struct fst3fs_reader *r = fixture_reader(&(const struct io_fault_config){.seed = 1}, 8 << 20, 8, 60000);
		const char *path = write_wide(wide[w].each);
		struct fst3fs_checkpoint *checkpoint;
		struct fst3fs_stream *s;
		struct fst3fs_error err;
		size_t i, there;

		assert_int_equal(fst3fs_checkpoint_open(r, &path, 1, &checkpoint, &err), 0);
		assert_int_equal(fst3fs_stream_open(r, checkpoint, NULL, 0, NULL, &s, &err), 0);
		there = give_all(s);
		for (size_t k = 0; k < sizeof(wide[w].under_way) / sizeof(wide[w].under_way[0]); k++) {
			assert_int_equal(there, wide[w].under_way[k]);
			starve(s);
			assert_int_equal(fst3fs_stream_next(s, &i, &err), 1);
			there += give_all(s) - 1;
		}
		fst3fs_stream_close(s);
		fst3fs_checkpoint_free(checkpoint);
		fst3fs_close(r);
	}
}

static void in_a_child_it_belongs_to_the_parent(void **state)
{
	struct fst3fs_stream_info info = {.size = sizeof(info)};
	struct fst3fs_stream *s;
	struct fst3fs_error err;
	struct model m;
	int status;
	size_t i;
	pid_t pid;

	(void)state;
	model_open(&m, &shuffled, 64 * KIB);
	assert_int_equal(fst3fs_stream_open(m.reader, m.checkpoint, NULL, 0, NULL, &s, &err), 0);
	assert_true(fst3fs_stream_wants(s, &i));
	/* As if another thread had been in the engine when the process forked. */
	pthread_mutex_lock(&m.reader->engine.lock);
	pid = fork();
	if (pid == 0) {
		alarm(10);
		while (fst3fs_stream_wants(s, &i))
			if (fst3fs_stream_give(s, 0, &err) < 0)
				break;
		if (err.code != -ECHILD || fst3fs_stream_get_info(s, &info) != 0)
			_exit(1);
		fst3fs_stream_close(s);
		_exit(0);
	}
	pthread_mutex_unlock(&m.reader->engine.lock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fst3fs_stream_close(s);
	model_close(&m);
}

static void shares_of_all_ranks_are_the_whole(void **state)
{
	struct fst3fs_error err;
	struct model m;

	(void)state;
	model_open(&m, &shuffled, 64 * KIB);
	for (uint32_t ranks = 1; ranks <= 4; ranks++) {
		struct fst3fs_share *share;
		uint8_t *window = malloc(128 * KIB);
		uint64_t total = 0;

		assert_int_equal(fst3fs_share_open(m.checkpoint, NULL, 0, ranks, 64 * KIB, 64, &share, &err), 0);
		for (uint64_t w = 0; w < fst3fs_share_windows(share); w++) {
			struct fst3fs_share_copy copies[FILES * TENSORS];
			uint64_t bytes, slice;
			int64_t n;

			memset(window, 0xa5, 128 * KIB);
			assert_int_equal(fst3fs_share_window(share, w, &bytes, &slice), 0);
			for (uint32_t rank = 0; rank < ranks; rank++) {
				struct fst3fs_request q[FILES];
				int64_t parts =
					fst3fs_share_requests(share, w, rank, (uint64_t)(uintptr_t)window, q, FILES);

				assert_in_range(parts, 0, FILES);
				assert_int_equal(fst3fs_read_many(m.reader, q, (size_t)parts, 0, 0, &err), 0);
			}
			n = fst3fs_share_copies(share, w, copies, FILES * TENSORS);
			assert_in_range(n, 1, FILES * TENSORS);
			for (int64_t i = 0; i < n; i++) {
				struct fst3fs_tensor t;

				fst3fs_checkpoint_tensor(m.checkpoint, copies[i].tensor, &t);
				fixture_check(window + copies[i].at, (unsigned)t.file + 1, t.offset + copies[i].offset,
					      copies[i].length);
				total += copies[i].length;
			}
			assert_int_equal(window[bytes], 0xa5);
		}
		assert_int_equal(total, FILES * 7ull * (TENSORS - 1) * TENSORS * (2 * TENSORS - 1) / 6);
		assert_int_equal(fst3fs_share_window(share, fst3fs_share_windows(share), &total, &total), -EINVAL);
		fst3fs_share_close(share);
		free(window);
	}
	model_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_lead_to_tensors, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(every_tensor_comes_once_in_order, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_tensor_without_an_address_is_not_waited_for, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_selection_reads_what_it_wants, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(an_error_ends_the_stream_and_nothing_is_in_flight, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_file_that_became_shorter_is_an_error, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(closed_early_it_reads_no_more, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_read_that_needs_the_whole_buffer_has_its_turn, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(it_goes_further_ahead_for_who_needs_it, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(in_a_child_it_belongs_to_the_parent, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(shares_of_all_ranks_are_the_whole, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of one reader that wait for each other: who is woken, who may be interrupted, and what a callback may call. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024ull
#define SIZE 40000

/* One call on a thread of its own. */
struct caller {
	struct fst3fs_reader *r;
	const char *path;
	unsigned flags;
	void (*work)(struct caller *c);
	void (*callback)(struct caller *c); /* from the reader's callback, on this call's thread */
	bool stop;			    /* what the callback then says */
	sem_t asked, go;
	struct fst3fs_error err;
	int64_t result;
	pthread_t thread;
};

static _Thread_local struct caller *self;

static int ask(void *ctx)
{
	(void)ctx;
	if (self && self->callback)
		self->callback(self);
	return self && self->stop;
}

static void *caller_main(void *arg)
{
	self = arg;
	self->work(self);
	return NULL;
}

static void start(struct caller *c)
{
	sem_init(&c->asked, 0, 0);
	sem_init(&c->go, 0, 0);
	assert_int_equal(pthread_create(&c->thread, NULL, caller_main, c), 0);
}

/* Fails instead of hanging. */
static void join(struct caller *c)
{
	struct timespec ts = {.tv_sec = time(NULL) + 20};

	if (pthread_timedjoin_np(c->thread, NULL, &ts) != 0)
		fail_msg("the call hangs");
	sem_destroy(&c->asked);
	sem_destroy(&c->go);
}

static void read_it(struct caller *c)
{
	c->result = fst3fs_read(c->r, c->path, 0, 0, SIZE, 0, c->flags, &c->err);
}

static void release_it(struct caller *c)
{
	fst3fs_release(c->r);
}

static void say_stop(struct caller *c)
{
	c->stop = true;
}

/* Says that it is in the callback, and stays there until it may go. */
static void linger_and_stop(struct caller *c)
{
	sem_post(&c->asked);
	sem_wait(&c->go);
	c->stop = true;
}

static struct fst3fs_reader *reader_with_callback(const struct io_fault_config *config)
{
	struct fst3fs_options o;

	fst3fs_options_init(&o);
	o.buffer_size = 16 * KIB;
	o.entries = 4;
	o.timeout_ms = 60000;
	o.interrupted = ask;
	return fixture_reader_with(config, &o);
}

static void wait_for_requests(unsigned n)
{
	while (atomic_load(&io_fault_requests) < n)
		usleep(1000);
}

/* It is woken to take the loop over, and ends without having done so. */
static void a_release_does_not_wait_for_a_call_that_left(void **state)
{
	const struct io_fault_config config = {.hang_nth = 1, .hold = true};
	struct fst3fs_reader *r = reader_with_callback(&config);
	const char *path = fixture_file("data", 1, SIZE);
	struct caller driver = {.r = r, .path = path, .work = read_it};
	struct caller rider = {.r = r, .path = path, .work = read_it, .flags = FST3FS_READ_IN_TURN};
	struct caller releaser = {.r = r, .work = release_it};

	(void)state;
	rider.callback = linger_and_stop;
	start(&driver);
	wait_for_requests(1);
	start(&rider);
	sem_wait(&rider.asked);
	start(&releaser);
	atomic_store(&io_fault_config.hold, false);
	join(&driver);
	assert_int_equal(driver.result, SIZE);
	usleep(50000); /* the release has begun to wait */
	sem_post(&rider.go);
	join(&rider);
	assert_int_equal(rider.result, -EINTR);
	join(&releaser);
	fst3fs_close(r);
}

static void a_release_that_waits_can_be_interrupted(void **state)
{
	const struct io_fault_config config = {.hang_nth = 1, .hold = true};
	struct fst3fs_reader *r = reader_with_callback(&config);
	const char *path = fixture_file("data", 1, SIZE);
	struct caller reading = {.r = r, .path = path, .work = read_it};
	struct caller releasing = {.r = r, .work = release_it, .callback = say_stop};

	(void)state;
	start(&reading);
	wait_for_requests(1);
	start(&releasing);
	join(&releasing);
	assert_true(fst3fs_has_file(r, path)); /* nothing was released */
	atomic_store(&io_fault_config.hold, false);
	join(&reading);
	assert_int_equal(reading.result, SIZE);
	fst3fs_close(r);
}

static void a_read_that_waits_for_a_release_can_be_interrupted(void **state)
{
	const struct io_fault_config config = {.hang_nth = 1, .hold = true};
	struct fst3fs_reader *r = reader_with_callback(&config);
	const char *path = fixture_file("data", 1, SIZE);
	struct caller reading = {.r = r, .path = path, .work = read_it};
	struct caller releasing = {.r = r, .work = release_it};
	struct caller late = {.r = r, .path = path, .work = read_it, .callback = say_stop};

	(void)state;
	start(&reading);
	wait_for_requests(1);
	start(&releasing);
	usleep(50000); /* the release has begun to wait */
	start(&late);
	join(&late);
	assert_int_equal(late.result, -EINTR);
	assert_string_equal(late.err.path, path);
	atomic_store(&io_fault_config.hold, false);
	join(&reading);
	assert_int_equal(reading.result, SIZE);
	join(&releasing);
	assert_false(fst3fs_has_file(r, path));
	fst3fs_close(r);
}

/* As a signal handler may. */
static void read_and_release(struct caller *c)
{
	struct fst3fs_error err;

	assert_int_equal(fst3fs_read(c->r, c->path, 0, 0, SIZE, 0, 0, &err), -EDEADLK);
	assert_int_equal(err.kind, FST3FS_ERROR_STATE);
	fst3fs_release(c->r);
	c->callback = NULL;
	atomic_store(&io_fault_config.hold, false);
}

static void a_callback_that_reads_and_releases_does_not_hang(void **state)
{
	const struct io_fault_config config = {.hang_nth = 1, .hold = true};
	struct fst3fs_reader *r = reader_with_callback(&config);
	const char *path = fixture_file("data", 1, SIZE);
	struct caller reading = {.r = r, .path = path, .work = read_it, .callback = read_and_release};

	(void)state;
	start(&reading);
	join(&reading);
	assert_int_equal(reading.result, SIZE);
	assert_false(fst3fs_has_file(r, path)); /* released when the read had ended */
	fst3fs_close(r);
}

static void the_own_buffer_after_a_release_is_not_taken_for_a_destination(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&(struct io_fault_config){0}, 16 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_info info = {.size = sizeof(info)};
	void *before;

	(void)state;
	fst3fs_release(r);
	assert_int_equal(fst3fs_read(r, path, 0, 0, SIZE, 0, 0, NULL), SIZE);
	assert_int_equal(fst3fs_get_info(r, &info), 0);
	before = info.iov_base;
	fst3fs_release(r);
	assert_int_equal(fst3fs_read(r, path, (uint64_t)(uintptr_t)before, 0, 8 * KIB, 0, 0, NULL), -EINVAL);
	fst3fs_close(r);
}

static void a_bad_range_leaves_a_result_in_every_other(void **state)
{
	struct fst3fs_reader *r = fixture_reader(&(struct io_fault_config){0}, 16 * KIB, 4, 10000);
	const char *path = fixture_file("data", 1, SIZE);
	struct fst3fs_request q[] = {{.path = path, .length = 10, .result = 77},
				     {.path = path, .length = -1, .result = 77},
				     {.path = path, .length = 10, .result = 77}};
	struct fst3fs_error err;

	(void)state;
	assert_int_equal(fst3fs_read_many(r, q, 3, 0, 0, &err), -EINVAL);
	assert_int_equal(err.index, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(q[i].result, i == 1 ? -EINVAL : -ECANCELED);
	fst3fs_close(r);
}

static void read_a_piece(struct caller *c)
{
	c->result = fst3fs_read(c->r, c->path, 0, 0, KIB, 0, 0, &c->err);
}

static void *cancel_it(void *batch)
{
	fst3fs_batch_cancel(batch);
	return NULL;
}

static bool is_releasing(struct fst3fs_reader *r)
{
	bool yes;

	pthread_mutex_lock(&r->engine.lock);
	yes = r->engine.releasing > 0;
	pthread_mutex_unlock(&r->engine.lock);
	return yes;
}

/* The mount was replaced under it, and it waits for another call to end before it is run again
 * (tests/models/drive.pml: CANCELS_WHAT_RUNS). */
static void a_batch_that_is_cancelled_between_its_runs_reads_nothing(void **state)
{
	const struct io_fault_config config = {.hang_nth = 1, .hold = true};
	struct fst3fs_reader *r = reader_with_callback(&config);
	const char *path = fixture_file("data", 1, SIZE);
	struct caller other = {.r = r, .path = path, .work = read_a_piece};
	const struct fst3fs_request q = {.path = path, .length = SIZE};
	struct fst3fs_batch *batch;
	pthread_t canceller;

	(void)state;
	start(&other);
	wait_for_requests(1);
	pthread_mutex_lock(&r->engine.lock);
	r->engine.session->mount_dev++;
	pthread_mutex_unlock(&r->engine.lock);
	assert_int_equal(fst3fs_start_many(r, &q, 1, 0, &batch, NULL), 0);
	while (!is_releasing(r))
		usleep(1000);
	assert_int_equal(pthread_create(&canceller, NULL, cancel_it, batch), 0);
	usleep(200000); /* what it waits in cannot be seen from here */
	atomic_store(&io_fault_config.hold, false);
	join(&other);
	assert_int_equal(other.result, KIB);
	pthread_join(canceller, NULL);
	assert_int_equal(atomic_load(&io_fault_requests), 1);
	fst3fs_close(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_release_does_not_wait_for_a_call_that_left),
		TEST(a_release_that_waits_can_be_interrupted),
		TEST(a_read_that_waits_for_a_release_can_be_interrupted),
		TEST(a_callback_that_reads_and_releases_does_not_hang),
		TEST(the_own_buffer_after_a_release_is_not_taken_for_a_destination),
		TEST(a_bad_range_leaves_a_result_in_every_other),
		TEST(a_batch_that_is_cancelled_between_its_runs_reads_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

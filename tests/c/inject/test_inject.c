/* SPDX-License-Identifier: Apache-2.0 */
/* Every failure once, for a C program: of each place in the library that allocates or calls the system, the first call
 * fails, in a child of its own; the reader works afterwards, and nothing is left. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fst3fs.h"
#include "inject.h"
#include "served.h"
#include "work.h"

enum { CALLS = 4096, DEADLINE_S = 300 };

struct turn {
	size_t place;
	long nth;
	int second;
};

/* What a child tells. */
struct told {
	long held, mapped, calls;
	struct {
		const char *function; /* a literal of the program, and so of parent and child */
		size_t place;
	} call[CALLS];
	char wrong[1024];
};

static struct served mount;
static struct told *told; /* shared with the children */

/* Places that have failed. */
static size_t seen[CALLS];
static int seen_count;

static int entries(const char *path, const char *without)
{
	DIR *dir = opendir(path);
	int n = 0;

	assert_non_null(dir);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this directory stream */
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.' && (!without || strncmp(e->d_name, without, strlen(without)) != 0);
	closedir(dir);
	return n;
}

static int left(void)
{
	char iovs[128];

	snprintf(iovs, sizeof(iovs), "%s/3fs-virt/iovs", mount.path);
	return entries("/proc/self/fd", NULL) + entries("/proc/self/task", NULL) + entries(iovs, "submit-ios");
}

/* What a reader leaves to a thread of its own takes a moment. */
static void until_no_more_than(int before)
{
	struct patience p = {0};

	while (left() > before)
		patience(&p);
}

static void note_calls(long n)
{
	assert_in_range(n, 1, CALLS);
	told->calls = n;
	for (long i = 0; i < n; i++)
		told->call[i].function = inject_call(i + 1, &told->call[i].place);
}

static void check_error(int rc, const struct fst3fs_error *err)
{
	int code;
	const char *function = inject_failed(&code);

	if (rc != -code || err->text[0] == '\0')
		snprintf(told->wrong, sizeof(told->wrong), "%s failed with %d, and the call with %d: %s", function,
			 code, rc, err->text);
}

static void child(const struct work *work, const struct turn *turn)
{
	struct fst3fs_error err = {.text = ""};
	struct work_state state = {.mount = mount.path};
	int before = left(), rc;

	/* What fails here must not go on with the parent's next test. */
	setenv("CMOCKA_TEST_ABORT", "1", 1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
	alarm(DEADLINE_S);
	work_begin(work, &state);
	inject_arm(turn->place, turn->nth, turn->second);
	rc = work->run(&state, &err);
	note_calls(inject_disarm());
	if (rc < 0)
		check_error(rc, &err);
	else
		work_check(&state);
	work_again(work, &state);
	work_end(&state);
	until_no_more_than(before);
	told->held = inject_held();
	told->mapped = inject_mapped();
	exit(0);
}

/* True when the child ended well and nothing is wrong. */
static bool take(const struct work *work, struct turn turn)
{
	int status;
	pid_t pid;

	told->wrong[0] = '\0';
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(work, &turn);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		snprintf(told->wrong, sizeof(told->wrong), "ended with %#x", (unsigned)status);
	return told->wrong[0] == '\0';
}

/* True when it is new. */
static bool note_place(size_t place)
{
	for (int i = 0; i < seen_count; i++)
		if (seen[i] == place)
			return false;
	assert_in_range(seen_count, 0, CALLS - 1);
	seen[seen_count++] = place;
	return true;
}

static int fail_at(const struct work *work, const struct told *clean, const char *function, struct turn turn)
{
	bool well = take(work, turn);
	const char *object;
	size_t address;

	if (well && (told->held > clean->held || told->mapped > clean->mapped))
		snprintf(told->wrong, sizeof(told->wrong), "%ld allocations and %ld bytes of mappings left",
			 told->held - clean->held, told->mapped - clean->mapped);
	else if (well)
		return 0;
	object = inject_where(turn.place, &address);
	print_error("%s, %s failing at %s+%#zx: %s\n", work->name, function, object, address, told->wrong);
	return 1;
}

static void every_failure_once(void **state)
{
	const struct work *work = *state;
	struct told *clean = malloc(sizeof(*clean));
	int wrong = 0;

	assert_non_null(clean);
	if (!take(work, (struct turn){0}))
		fail_msg("undisturbed: %s", told->wrong);
	*clean = *told;
	for (long i = 0; i < clean->calls; i++) {
		const char *function = clean->call[i].function;
		struct turn turn = {.place = clean->call[i].place, .nth = 1};

		if (!note_place(turn.place))
			continue;
		wrong += fail_at(work, clean, function, turn);
		turn.second = 1;
		if (inject_has_second(function))
			wrong += fail_at(work, clean, function, turn);
	}
	free(clean);
	assert_int_equal(wrong, 0);
}

static void *nothing(void *arg)
{
	return arg;
}

/* TSan begins a thread of its own with the first of a process: not within a child, where it would count as left. */
static void begin_threads(void)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static int start(void **state)
{
	(void)state;
	begin_threads();
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(told != MAP_FAILED);
	served_start(&mount, NULL);
	work_files(&mount);
	assert_true(inject_hook("") > 30);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	served_wait_until_empty(&mount);
	served_stop(&mount);
	munmap(told, sizeof(*told));
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[WORKS];

	for (int i = 0; i < WORKS; i++)
		tests[i] = (struct CMUnitTest){
			.name = works[i].name, .test_func = every_failure_once, .initial_state = (void *)&works[i]};
	return cmocka_run_group_tests(tests, start, stop);
}

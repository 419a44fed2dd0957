/* SPDX-License-Identifier: Apache-2.0 */
/* Registering, on a plain directory in place of a mount. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "err.h"
#include "scratch.h"
#include "usrbio.h"

enum { TIMEOUT_MS = 20000 };

static uint64_t soon(void)
{
	return fst3fs_now_ns() + TIMEOUT_MS * FST3FS_NS_PER_MS;
}

static struct usrbio_client *open_client(const struct scratch *s)
{
	struct usrbio_client *c = NULL;
	struct fst3fs_error err = {0};
	int rc = usrbio_client_open(s->dir, TIMEOUT_MS, &c, &err);

	if (rc < 0)
		print_error("%s\n", err.text);
	assert_int_equal(rc, 0);
	return c;
}

static void registers_and_leaves_nothing(void **state)
{
	struct scratch s;
	struct usrbio_client *c;
	struct usrbio_iov *iov;
	struct usrbio_ior *ior;
	struct fst3fs_error err = {0};
	char path[256], target[256] = "";

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	assert_int_equal(usrbio_iov_create(c, 10000, 4096, -1, &iov, &err), 0);
	assert_int_equal(iov->size % 4096, 0);
	assert_true(iov->size >= 10000);
	memset(iov->base, 1, iov->size);
	snprintf(path, sizeof(path), "%s/%s", s.iovs, iov->key);
	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	assert_non_null(strstr(target, "/dev/shm/hf3fs-iov-"));
	/* The name is gone by now; the link remains. */
	assert_int_equal(access(target, F_OK), -1);
	assert_int_equal(usrbio_ior_create(c, 4, 2, &ior, &err), 0);
	assert_int_equal(scratch_links(&s), 2);
	assert_int_equal(scratch_shm_objects(), 0);
	usrbio_ior_destroy(ior);
	usrbio_iov_destroy(iov);
	assert_true(usrbio_client_close(c, soon()));
	assert_int_equal(scratch_links(&s), 0);
	scratch_remove(&s);
}

static void buffers_may_outlive_their_client(void **state)
{
	struct scratch s;
	struct usrbio_client *c;
	struct usrbio_iov *iov;
	struct usrbio_ior *ior;

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	assert_int_equal(usrbio_iov_create(c, 4096, 0, -1, &iov, NULL), 0);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, NULL), 0);
	assert_true(usrbio_client_close(c, soon()));
	iov->base[4095] = 1;
	usrbio_iov_destroy(iov);
	usrbio_ior_destroy(ior);
	/* A plain directory knows no clean-up with its last fd, so the links stay here. */
	assert_int_equal(scratch_links(&s), 2);
	scratch_remove_links(&s);
	scratch_remove(&s);
}

/* As every user may do to it: posting it then would be the end of the process. */
static void a_semaphore_that_was_cut_short_is_refused(void **state)
{
	struct fst3fs_error err = {0};
	struct usrbio_client *c;
	struct usrbio_ior *ior;
	struct scratch s;
	char path[96];

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	snprintf(path, sizeof(path), "/dev/shm/sem.%s", s.sem_name + 1);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, &err), -EINVAL);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(scratch_links(&s), 0);
	assert_int_equal(scratch_shm_objects(), 0);
	assert_true(usrbio_client_close(c, soon()));
	scratch_remove(&s);
}

static void a_semaphore_that_is_cut_short_under_a_ring_is_told(void **state)
{
	struct usrbio_result result;
	struct usrbio_client *c;
	struct usrbio_iov *iov;
	struct usrbio_ior *ior;
	struct scratch s;
	char path[96];

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	snprintf(path, sizeof(path), "/dev/shm/sem.%s", s.sem_name + 1);
	assert_int_equal(usrbio_iov_create(c, 4096, 0, -1, &iov, NULL), 0);
	assert_int_equal(usrbio_ior_create(c, 2, 0, &ior, NULL), 0);
	assert_int_equal(usrbio_ior_prep(ior, iov, 0, 1, 0, 4096, 7), 0);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(usrbio_ior_submit(ior), -EOWNERDEAD);
	assert_int_equal(usrbio_ior_reap(ior, &result, 1), -EOWNERDEAD);
	usrbio_ior_destroy(ior);
	usrbio_iov_destroy(iov);
	assert_true(usrbio_client_close(c, soon()));
	scratch_remove(&s);
}

/* What a mount of somebody's may name instead; `%s` is the semaphore's own name. */
static const char *const elsewhere[] = {"/etc/passwd", "/dev/shm/../etc/passwd", "/dev/shm/sem.", "/dev/shm/.x",
					"/dev/shm/x",  "../../../etc/passwd",	 "sem.x",	  "/dev/shm/sem.%s/x"};

static void a_semaphore_elsewhere_is_not_opened(void **state)
{
	struct usrbio_client *c = NULL;
	char path[160], target[160];
	struct scratch s;

	(void)state;
	scratch_make(&s);
	snprintf(path, sizeof(path), "%s/submit-ios", s.iovs);
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
		snprintf(target, sizeof(target), elsewhere[i], s.sem_name + 1);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(symlink(target, path), 0);
		assert_int_not_equal(usrbio_client_open(s.dir, TIMEOUT_MS, &c, NULL), 0);
		assert_null(c);
	}
	scratch_remove(&s);
}

/* Something else has the semaphore's name: a link to a file of the user's, a FIFO, a folder. */
static void what_is_no_semaphore_is_not_opened(void **state)
{
	struct usrbio_client *c;
	struct usrbio_ior *ior;
	struct scratch s;
	char path[96];

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	snprintf(path, sizeof(path), "/dev/shm/sem.%s", s.sem_name + 1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, NULL), -EINVAL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0666), 0);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, NULL), -EINVAL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, NULL), -EINVAL);
	assert_int_equal(rmdir(path), 0);
	assert_true(usrbio_client_close(c, soon()));
	scratch_remove(&s);
}

struct making {
	struct usrbio_task task;
	char path[96];
	bool ended;
};

/* As the official library makes its objects: for everybody, as far as the mask allows. */
static int make_for_everybody(struct usrbio_task *task)
{
	int fd = open(((struct making *)task)->path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);

	return fd < 0 || close(fd) < 0 ? -errno : 0;
}

static void making_ended(struct usrbio_task *task)
{
	((struct making *)task)->ended = true;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 0777;
}

/* Containers may forbid a thread a mask of its own. */
static bool threads_may_have_a_mask(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_FS) != 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static void what_others_make_on_the_thread_is_for_its_owner_alone(void **state)
{
	struct making making = {.task = {.run = make_for_everybody, .end = making_ended}};
	struct usrbio_task *task = &making.task;
	mode_t before = umask(0);
	struct usrbio_client *c;
	struct scratch s;

	(void)state;
	if (!threads_may_have_a_mask())
		skip();
	scratch_make(&s);
	c = open_client(&s);
	snprintf(making.path, sizeof(making.path), "%s/object", s.dir);
	assert_int_equal(usrbio_client_run(c, &task), 0);
	assert_int_equal(mode_of(making.path), 0600);
	/* And the process has its own mask still. */
	assert_int_equal(umask(before), 0);
	usrbio_client_end(c, task);
	assert_true(usrbio_client_close(c, soon()));
	assert_true(making.ended);
	unlink(making.path);
	scratch_remove(&s);
}

static void submits_once_for_what_was_queued(void **state)
{
	struct scratch s;
	struct usrbio_client *c;
	struct usrbio_iov *iov;
	struct usrbio_ior *ior;
	struct usrbio_result result;
	int posts;

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	assert_int_equal(usrbio_iov_create(c, 8192, 4096, -1, &iov, NULL), 0);
	assert_int_equal(usrbio_ior_create(c, 2, 0, &ior, NULL), 0);
	assert_int_equal(usrbio_ior_prep(ior, iov, 0, 1, 0, 4096, 7), 0);
	assert_int_equal(usrbio_ior_prep(ior, iov, 4096, 1, 0, 4097, 7), -EINVAL);
	assert_int_equal(usrbio_ior_prep(ior, iov, 4095, 1, 0, 2, 7), -EINVAL);
	assert_int_equal(usrbio_ior_prep(ior, iov, UINT64_MAX, 1, 0, 2, 7), -EINVAL);
	assert_int_equal(usrbio_ior_prep(ior, iov, 4096, 1, 0, 4096, 8), 0);
	assert_int_equal(usrbio_ior_prep(ior, iov, 0, 1, 0, 1, 9), -EAGAIN);
	usrbio_ior_submit(ior);
	usrbio_ior_submit(ior);
	sem_getvalue(s.sem, &posts);
	assert_int_equal(posts, 1);
	assert_int_equal(usrbio_ior_reap(ior, &result, 1), 0);
	usrbio_ior_destroy(ior);
	usrbio_iov_destroy(iov);
	assert_true(usrbio_client_close(c, soon()));
	scratch_remove(&s);
}

static void tells_what_is_not_a_mount(void **state)
{
	struct usrbio_client *c = NULL;
	struct fst3fs_error err = {0};
	struct scratch s;
	char path[160];

	(void)state;
	assert_int_equal(usrbio_client_open("/nowhere", TIMEOUT_MS, &c, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere"));
	scratch_make(&s);
	snprintf(path, sizeof(path), "%s/submit-ios", s.iovs);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	fst3fs_err_reset(&err);
	assert_int_equal(usrbio_client_open(s.dir, TIMEOUT_MS, &c, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, s.dir));
	assert_null(c);
	scratch_remove(&s);
}

static void explains_a_private_dev_shm(void **state)
{
	struct usrbio_client *c;
	struct fst3fs_error err = {0};
	struct usrbio_ior *ior;
	struct scratch s;

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	sem_unlink(s.sem_name);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, &err), -ENOENT);
	assert_non_null(strstr(err.text, "--ipc=host"));
	assert_int_equal(scratch_shm_objects(), 0);
	assert_true(usrbio_client_close(c, soon()));
	scratch_remove(&s);
}

static void refuses_bad_sizes(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct usrbio_client *c;
	struct usrbio_iov *iov = NULL;
	struct usrbio_ior *ior = NULL;
	struct fst3fs_error err = {0};
	struct scratch s;

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	assert_int_equal(usrbio_iov_create(c, 0, 0, -1, &iov, NULL), -EINVAL);
	assert_int_equal(usrbio_iov_create(c, SIZE_MAX, 0, -1, &iov, NULL), -EINVAL);
	assert_int_equal(usrbio_iov_create(c, page, page + 1, -1, &iov, NULL), -EINVAL);
	assert_int_equal(usrbio_iov_create(c, page, 0, 100000, &iov, NULL), -EINVAL);
	assert_int_equal(usrbio_ior_create(c, 0, 0, &ior, NULL), -EINVAL);
	assert_int_equal(usrbio_ior_create(c, INT32_MAX, 0, &ior, NULL), -EINVAL);
	/* More than any machine's /dev/shm; nothing is taken of it. */
	assert_int_equal(usrbio_iov_create(c, 1ul << 50, 0, -1, &iov, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "free"));
	assert_non_null(strstr(err.text, "--shm-size"));
	assert_null(iov);
	assert_null(ior);
	assert_int_equal(scratch_links(&s), 0);
	assert_int_equal(scratch_shm_objects(), 0);
	assert_true(usrbio_client_close(c, soon()));
	scratch_remove(&s);
}

static void a_probe_finds_a_mount_gone(void **state)
{
	struct usrbio_client *c;
	struct scratch s;
	char path[160];
	sem_t told;

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	sem_init(&told, 0, 0);
	assert_int_equal(usrbio_client_probe(c, &told), 0);
	snprintf(path, sizeof(path), "%s/submit-ios", s.iovs);
	assert_int_equal(unlink(path), 0);
	/* The first look may have been good still; a later one is not. */
	while (usrbio_client_probe(c, &told) == 0)
		usleep(1000);
	assert_int_equal(sem_wait(&told), 0);
	assert_int_equal(usrbio_client_probe(c, &told), -ENOENT);
	assert_true(usrbio_client_close(c, soon()));
	sem_destroy(&told);
	scratch_remove(&s);
}

static bool holds_iovs(const struct scratch *s)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	bool found = false;
	char target[256];
	ssize_t n;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this directory stream */
	while ((entry = readdir(dir)) != NULL) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found |= strcmp(target, s->iovs) == 0;
	}
	closedir(dir);
	return found;
}

static void a_child_holds_nothing_and_frees_in_peace(void **state)
{
	struct scratch s;
	struct usrbio_client *c;
	struct usrbio_iov *iov;
	struct usrbio_ior *ior;
	pid_t pid;
	int status;

	(void)state;
	scratch_make(&s);
	c = open_client(&s);
	assert_int_equal(usrbio_iov_create(c, 4096, 0, -1, &iov, NULL), 0);
	assert_int_equal(usrbio_ior_create(c, 4, 0, &ior, NULL), 0);
	assert_true(holds_iovs(&s));
	pid = fork();
	if (pid == 0) {
		struct usrbio_iov *other;
		bool kept = holds_iovs(&s);
		int rc = usrbio_iov_create(c, 4096, 0, -1, &other, NULL);

		usrbio_iov_destroy(iov);
		usrbio_ior_destroy(ior);
		usrbio_client_close(c, soon());
		_exit(kept ? 1 : rc != -ECHILD ? 2 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(holds_iovs(&s));
	assert_int_equal(scratch_links(&s), 2);
	iov->base[0] = 1;
	usrbio_ior_destroy(ior);
	usrbio_iov_destroy(iov);
	assert_true(usrbio_client_close(c, soon()));
	assert_false(holds_iovs(&s));
	assert_int_equal(scratch_links(&s), 0);
	scratch_remove(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_and_leaves_nothing),
		cmocka_unit_test(buffers_may_outlive_their_client),
		cmocka_unit_test(a_semaphore_that_was_cut_short_is_refused),
		cmocka_unit_test(a_semaphore_that_is_cut_short_under_a_ring_is_told),
		cmocka_unit_test(a_semaphore_elsewhere_is_not_opened),
		cmocka_unit_test(what_is_no_semaphore_is_not_opened),
		cmocka_unit_test(what_others_make_on_the_thread_is_for_its_owner_alone),
		cmocka_unit_test(submits_once_for_what_was_queued),
		cmocka_unit_test(tells_what_is_not_a_mount),
		cmocka_unit_test(explains_a_private_dev_shm),
		cmocka_unit_test(refuses_bad_sizes),
		cmocka_unit_test(a_probe_finds_a_mount_gone),
		cmocka_unit_test(a_child_holds_nothing_and_frees_in_peace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

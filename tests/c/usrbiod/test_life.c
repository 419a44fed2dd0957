/* SPDX-License-Identifier: Apache-2.0 */
/* How daemons and clients come and go, and what happens to files. Each test has a daemon of its own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cm.h"
#include "emulated.h"
#include "raw.h"

enum {
	KIB = 1024,
	MIB = 1024 * KIB,
};

static struct served mount_;

static int open_iovs(void)
{
	char path[160];
	int dir;

	snprintf(path, sizeof(path), "%s/" USRBIO_IOVS_DIR, mount_.path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	return dir;
}

/* The kernel tells the daemon of a close in its own time. */
static void wait_for_registrations(long iovs, long rings)
{
	for (int i = 0; i < 500; i++) {
		if (served_stat(&mount_, NULL, "iovs") == iovs && served_stat(&mount_, NULL, "rings") == rings)
			return;
		usleep(10000);
	}
	fail_msg("registrations: %ld buffers, %ld rings", served_stat(&mount_, NULL, "iovs"),
		 served_stat(&mount_, NULL, "rings"));
}

/* ---------------------------------------------------------------- clients */

static void a_killed_client_leaves_no_registration(void **state)
{
	int ends[2];
	char byte;
	pid_t pid;

	(void)state;
	served_start(&mount_, NULL);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		struct raw_shm buf;
		struct raw_ring ring;

		open_iovs();
		raw_shm_make(&buf, 64 * KIB);
		if (raw_register(&mount_, &buf, "") || raw_ring_make(&mount_, &ring, 4, ".r1.t0"))
			_exit(1);
		unlink(buf.name);
		unlink(ring.shm.name);
		if (write(ends[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(served_stat(&mount_, NULL, "iovs"), 1);
	assert_int_equal(served_stat(&mount_, NULL, "rings"), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_for_registrations(0, 0);
	close(ends[0]);
	close(ends[1]);
	served_stop(&mount_);
}

static void *register_on_a_thread(void *arg)
{
	int *dir = arg;
	static struct raw_shm buf;

	*dir = open_iovs();
	raw_shm_make(&buf, 4096);
	assert_int_equal(raw_register(&mount_, &buf, ""), 0);
	raw_shm_drop(&buf);
	return NULL;
}

static void closing_the_directory_takes_its_threads_registrations_alone(void **state)
{
	struct raw_shm buf;
	pthread_t thread;
	int dir, mine;

	(void)state;
	served_start(&mount_, NULL);
	mine = open_iovs();
	raw_shm_make(&buf, 4096);
	assert_int_equal(raw_register(&mount_, &buf, ""), 0);
	assert_int_equal(pthread_create(&thread, NULL, register_on_a_thread, &dir), 0);
	pthread_join(thread, NULL);
	assert_int_equal(served_stat(&mount_, NULL, "iovs"), 2);
	close(dir);
	wait_for_registrations(1, 0);
	close(mine);
	wait_for_registrations(0, 0);
	raw_shm_drop(&buf);
	served_stop(&mount_);
}

static void keys_are_listed_to_their_user(void **state)
{
	struct dirent *entry;
	struct raw_shm buf;
	int fixed = 0, own = 0;
	DIR *dir;

	(void)state;
	served_start(&mount_, NULL);
	raw_shm_make(&buf, 4096);
	assert_int_equal(raw_register(&mount_, &buf, ".b4096"), 0);
	dir = fdopendir(open_iovs());
	while ((entry = readdir(dir))) {
		fixed += strncmp(entry->d_name, "submit-ios", 10) == 0;
		own += strcmp(entry->d_name, buf.key) == 0;
	}
	closedir(dir);
	assert_int_equal(fixed, 3);
	assert_int_equal(own, 1);
	raw_shm_drop(&buf);
	served_stop(&mount_);
}

/* ---------------------------------------------------------------- files */

static void files_can_be_made_and_changed(void **state)
{
	char command[1500];

	(void)state;
	/* Through the link too, and with held back answers: the same bytes. */
	served_start(&mount_, "--latency-us", "100", "--meta-latency-us", "200", NULL);
	served_file(&mount_, "big", 3 * MIB + 5);
	snprintf(command, sizeof(command),
		 "set -e; b='%s'; m='%s'\n"
		 "cmp \"$b/big\" \"$m/big\"\n"
		 "mkdir \"$m/d\"; cp \"$m/big\" \"$m/d/copy\"; cmp \"$b/big\" \"$b/d/copy\"\n"
		 "mv \"$m/d/copy\" \"$m/d/moved\"; test ! -e \"$b/d/copy\"\n"
		 "truncate -s 10 \"$m/d/moved\"; test $(stat -c %%s \"$b/d/moved\") = 10\n"
		 "printf more >> \"$m/d/moved\"; test $(stat -c %%s \"$m/d/moved\") = 14\n"
		 "chmod 600 \"$m/d/moved\"; test $(stat -c %%a \"$b/d/moved\") = 600\n"
		 "touch -d @1000 \"$m/d/moved\"; test $(stat -c %%Y \"$b/d/moved\") = 1000\n"
		 "printf x > \"$m/d/moved\"; test $(stat -c %%s \"$b/d/moved\") = 1\n"
		 "ln -s moved \"$m/d/link\"; cmp \"$m/d/link\" \"$b/d/moved\"\n"
		 "ln \"$m/d/moved\" \"$m/d/hard\"; test $(stat -c %%h \"$b/d/moved\") = 2\n"
		 "test \"$(ls \"$m/d\" | tr '\\n' ' ')\" = 'hard link moved '\n"
		 "! rmdir \"$m/d\" 2>/dev/null; rm -r \"$m/d\"; test ! -e \"$b/d\"\n"
		 "test -d \"$m/3fs-virt\"; ! ls \"$m\" | grep -q 3fs-virt; ! mkdir \"$m/3fs-virt\" 2>/dev/null\n",
		 mount_.backing, mount_.path);
	assert_int_equal(system(command), 0);
	served_stop(&mount_);
}

static void many_files_in_a_directory_are_all_listed(void **state)
{
	enum { FILES = 3000 };
	int seen = 0;
	DIR *dir;

	(void)state;
	served_start(&mount_, NULL);
	for (int i = 0; i < FILES; i++) {
		char path[160];

		snprintf(path, sizeof(path), "%s/file-with-a-rather-long-name-%d", mount_.backing, i);
		close(open(path, O_CREAT | O_WRONLY, 0644));
	}
	dir = opendir(mount_.path);
	while (readdir(dir))
		seen++;
	assert_int_equal(seen, FILES + 2);
	closedir(dir);
	served_stop(&mount_);
}

static void a_read_only_mount_changes_nothing(void **state)
{
	struct raw_shm buf;
	char path[320];
	int dir;

	(void)state;
	served_start(&mount_, "-o", "ro", NULL);
	served_file(&mount_, "file", 100);
	snprintf(path, sizeof(path), "%s/file", mount_.path);
	assert_int_equal(unlink(path), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(open(path, O_WRONLY), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(open(path, O_RDONLY | O_TRUNC), -1);
	assert_int_equal(errno, EROFS);
	/* Registered all the same; and only closing the directory ends that. */
	dir = open_iovs();
	raw_shm_make(&buf, 4096);
	assert_int_equal(raw_register(&mount_, &buf, ""), 0);
	assert_int_equal(raw_unregister(&mount_, &buf), -EROFS);
	close(dir);
	wait_for_registrations(0, 0);
	raw_shm_drop(&buf);
	served_stop(&mount_);
}

/* ---------------------------------------------------------------- the daemon */

/* Runs the daemon without -f and gives its exit status; what it printed comes in `text`. */
static int run_daemon(const char *arguments, char *text, size_t size)
{
	char command[700];
	size_t n;
	FILE *f;
	int status;

	snprintf(command, sizeof(command), "exec '%s' %s 2>&1", getenv("USRBIOD"), arguments);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	status = pclose(f);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_start_that_fails_says_why(void **state)
{
	char text[1000], arguments[400];

	(void)state;
	assert_int_not_equal(run_daemon("/nonexistent-backing /tmp", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "/nonexistent-backing: No such file"));
	assert_int_not_equal(run_daemon("/tmp /nonexistent-mount", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "/nonexistent-mount: No such file"));
	assert_int_not_equal(run_daemon("--workers 0 /tmp /tmp", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "--workers"));
	served_start(&mount_, NULL);
	snprintf(arguments, sizeof(arguments), "'%s' '%s'", mount_.backing, mount_.path);
	assert_int_not_equal(run_daemon(arguments, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "mounted here already"));
	snprintf(arguments, sizeof(arguments), "%s/inner", mount_.backing);
	assert_int_equal(mkdir(arguments, 0755), 0);
	snprintf(arguments, sizeof(arguments), "'%s' '%s/inner'", mount_.backing, mount_.backing);
	assert_int_not_equal(run_daemon(arguments, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "so that the mount would contain itself"));
	served_stop(&mount_);
}

static int semaphores_of(pid_t pid)
{
	struct dirent *entry;
	char part[32];
	int n = 0;
	DIR *dir = opendir("/dev/shm");

	snprintf(part, sizeof(part), "-%d-", (int)pid);
	while ((entry = readdir(dir)))
		n += strncmp(entry->d_name, "sem.usrbiod-", 12) == 0 && strstr(entry->d_name, part);
	closedir(dir);
	return n;
}

static int unmount(const char *flags)
{
	char command[200];

	snprintf(command, sizeof(command), "fusermount3 %s '%s'", flags, mount_.path);
	return system(command);
}

static void a_killed_daemons_mount_is_explained_and_its_semaphores_swept(void **state)
{
	char arguments[400], text[1000];
	uint64_t ino;
	pid_t dead;

	(void)state;
	served_start(&mount_, NULL);
	dead = mount_.pid;
	kill(dead, SIGKILL);
	waitpid(dead, NULL, 0);
	snprintf(arguments, sizeof(arguments), "--stats '%s' '%s' '%s'", mount_.stats, mount_.backing, mount_.path);
	assert_int_equal(run_daemon(arguments, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "a daemon that was killed has left its mount here"));
	assert_non_null(strstr(text, "fusermount3 -u -z"));
	assert_int_equal(unmount("-u -z"), 0);
	/* It returns when the mount works. */
	assert_int_equal(run_daemon(arguments, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	served_file(&mount_, "file", 100);
	close(raw_open(&mount_, "file", &ino));
	assert_int_equal(semaphores_of(dead), 0);
	/* Unmounted by somebody else, it ends. */
	assert_int_equal(unmount("-u"), 0);
	for (int i = 0; i < 500 && access(mount_.stats, F_OK); i++)
		usleep(10000);
	assert_int_equal(access(mount_.stats, F_OK), 0);
	snprintf(text, sizeof(text), "rm -r '%s'", mount_.dir);
	assert_int_equal(system(text), 0);
}

/* Runs the daemon without -f; the process it leaves behind while it starts. */
static pid_t start_and_kill_parent(const char *backing, const char *path)
{
	char children[64], text[32] = "";
	pid_t parent = fork();

	if (parent == 0) {
		execl(getenv("USRBIOD"), "usrbiod", backing, path, (char *)NULL);
		_exit(127);
	}
	snprintf(children, sizeof(children), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	for (int i = 0; i < 2000 && !text[0]; i++) {
		int fd = open(children, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_true(read(fd, text, sizeof(text) - 1) >= 0);
		close(fd);
		usleep(5000);
	}
	assert_int_equal(kill(parent, SIGKILL), 0);
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	return (pid_t)strtol(text, NULL, 10);
}

static void a_daemon_whose_starter_is_gone_leaves_nothing(void **state)
{
	char path[128];
	struct statvfs fs;
	pid_t daemon;

	(void)state;
	if (emulated())
		skip(); /* a subreaper is not known to it */
	/* Asking for its directory takes the starting daemon long enough for the starter to be gone before it is
	 * ready. */
	served_start(&mount_, "--meta-latency-us", "500000", "--attr-timeout-s", "0", NULL);
	snprintf(path, sizeof(path), "%s/second", mount_.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	daemon = start_and_kill_parent(mount_.path, path);
	assert_true(daemon > 0);
	assert_int_equal(waitpid(daemon, NULL, 0), daemon);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	assert_int_equal(statvfs(path, &fs), 0);
	assert_int_equal(semaphores_of(daemon), 0);
	served_stop(&mount_);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_client_leaves_no_registration),
		cmocka_unit_test(closing_the_directory_takes_its_threads_registrations_alone),
		cmocka_unit_test(keys_are_listed_to_their_user),
		cmocka_unit_test(files_can_be_made_and_changed),
		cmocka_unit_test(many_files_in_a_directory_are_all_listed),
		cmocka_unit_test(a_read_only_mount_changes_nothing),
		cmocka_unit_test(a_start_that_fails_says_why),
		cmocka_unit_test(a_killed_daemons_mount_is_explained_and_its_semaphores_swept),
		cmocka_unit_test(a_daemon_whose_starter_is_gone_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

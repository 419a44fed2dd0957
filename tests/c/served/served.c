/* SPDX-License-Identifier: Apache-2.0 */
#include "served.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cm.h"

enum { LOOK_MS = 10, LOOKS = 60000 / LOOK_MS, MAX_OPTIONS = 24 };

void patience(struct patience *p)
{
	assert_true(p->looks++ < LOOKS);
	usleep(LOOK_MS * 1000);
}

/* NOLINTBEGIN(concurrency-mt-unsafe): these tests have one thread when they start and stop a daemon */

/* `options` has room for all that the daemon is called with. */
static void run_daemon(const struct served *s, const char **options, int n)
{
	options[n++] = s->backing;
	options[n++] = s->path;
	options[n] = NULL;
	/* When a test fails, its daemon ends with it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (options[0])
		execv(options[0], (char *const *)options);
	_exit(127);
}

static bool is_mounted(const struct served *s)
{
	char virt[128];

	snprintf(virt, sizeof(virt), "%s/3fs-virt/iovs", s->path);
	return access(virt, F_OK) == 0;
}

static void spawn(struct served *s, va_list options)
{
	const char *argv[MAX_OPTIONS] = {getenv("USRBIOD"), "-f", "--stats", s->stats};
	struct patience p = {0};
	int n = 4;

	while (n < MAX_OPTIONS - 3 && (argv[n] = va_arg(options, const char *)) != NULL)
		n++;
	s->pid = fork();
	if (s->pid == 0)
		run_daemon(s, argv, n);
	while (!is_mounted(s)) {
		assert_int_equal(waitpid(s->pid, NULL, WNOHANG), 0);
		patience(&p);
	}
}

void served_start(struct served *s, ...)
{
	va_list options;

	snprintf(s->dir, sizeof(s->dir), "/tmp/usrbiod-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->backing, sizeof(s->backing), "%s/backing", s->dir);
	snprintf(s->path, sizeof(s->path), "%s/mount \303\274", s->dir);
	snprintf(s->stats, sizeof(s->stats), "%s/stats", s->dir);
	assert_int_equal(mkdir(s->backing, 0755), 0);
	assert_int_equal(mkdir(s->path, 0755), 0);
	assert_int_equal(chmod(s->dir, 0755), 0); /* other users look in */
	va_start(options, s);
	spawn(s, options);
	va_end(options);
}

void served_restart(struct served *s, ...)
{
	va_list options;

	va_start(options, s);
	spawn(s, options);
	va_end(options);
}

/* A daemon that was killed leaves its three semaphores; their names hold its pid. */
static void remove_semaphores(pid_t pid)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -f /dev/shm/sem.usrbiod-*-%d-*", (int)pid);
	assert_int_equal(system(command), 0);
}

void served_kill(struct served *s)
{
	kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	assert_int_equal(umount2(s->path, MNT_DETACH), 0);
	remove_semaphores(s->pid);
}

void served_pause(struct served *s)
{
	int status;

	assert_int_equal(kill(s->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
	assert_true(WIFSTOPPED(status));
}

static void assert_no_semaphores(pid_t pid)
{
	char command[128];

	snprintf(command, sizeof(command), "test -z \"$(ls /dev/shm | grep -- 'usrbiod-[0-9]*-%d-')\"", (int)pid);
	assert_int_equal(system(command), 0);
}

void served_stop(struct served *s)
{
	char command[96];
	int status;

	assert_int_equal(kill(s->pid, SIGTERM), 0);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_int_equal(status, 0);
	assert_false(is_mounted(s));
	assert_no_semaphores(s->pid);
	snprintf(command, sizeof(command), "rm -r '%s'", s->dir);
	assert_int_equal(system(command), 0);
}

long served_stat(struct served *s, const char *section, const char *key)
{
	struct patience p = {0};
	char text[8192] = "", quoted[64];
	const char *at = text;
	FILE *f;

	/* It appears whole, by rename. */
	unlink(s->stats);
	assert_int_equal(kill(s->pid, SIGUSR1), 0);
	while ((f = fopen(s->stats, "r")) == NULL)
		patience(&p);
	assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	if (section) {
		snprintf(quoted, sizeof(quoted), "\"%s\": {", section);
		at = strstr(at, quoted);
		assert_non_null(at);
	}
	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(at, quoted);
	assert_non_null(at);
	return strtol(at + strlen(quoted), NULL, 10);
}

void served_wait_until_empty(struct served *s)
{
	struct patience p = {0};

	while (served_stat(s, NULL, "iovs") != 0 || served_stat(s, NULL, "rings") != 0)
		patience(&p);
}

uint8_t served_byte(uint64_t offset)
{
	return (uint8_t)(offset * 131 + (offset >> 8) * 17 + (offset >> 16));
}

const char *served_file(struct served *s, const char *name, size_t size)
{
	static char path[128];
	uint8_t *bytes = malloc(size + 1);
	FILE *f;

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = served_byte(i);
	snprintf(path, sizeof(path), "%s/%s", s->backing, name);
	f = fopen(path, "w");
	if (!f)
		fail_msg("cannot make %s", path);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	free(bytes);
	snprintf(path, sizeof(path), "%s/%s", s->path, name);
	return path;
}

/* NOLINTEND(concurrency-mt-unsafe) */

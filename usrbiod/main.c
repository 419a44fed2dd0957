/* SPDX-License-Identifier: Apache-2.0 */
/* usrbiod: serves a local directory as a 3FS mount with USRBIO. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount.h"
#include "parts.h"
#include "report.h"

enum {
	FUSE_THREADS = 32,
	SIGNAL_NUDGE = SIGUSR2, /* gets the main thread out of libfuse's loop */
};

/* ---------------------------------------------------------------- signals */

/* One thread takes all signals, in a plain loop and not in handlers. */
struct signals {
	struct usrbiod *d;
	struct fuse_session *session;
	pthread_t thread, main;
	_Atomic bool left; /* the main thread has left the loop */
};

static void ignore(int sig)
{
	(void)sig;
}

static sigset_t handled_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	return set;
}

static void write_stats(struct usrbiod *d)
{
	int rc;

	if (!d->options.stats_path)
		return;
	rc = report_write(&d->stats, &d->storage, d->options.stats_path);
	if (rc)
		fprintf(stderr, "usrbiod: %s: %s\n", d->options.stats_path, strerror(-rc));
}

/* Repeated, because a signal that comes just before libfuse's loop goes to sleep would be lost. */
static void leave_loop(struct signals *s)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

	fuse_session_exit(s->session);
	while (!atomic_load(&s->left)) {
		pthread_kill(s->main, SIGNAL_NUDGE);
		nanosleep(&pause, NULL);
	}
}

static void *signals_thread(void *arg)
{
	struct signals *s = arg;
	sigset_t set = handled_signals();
	int sig;

	while (!atomic_load(&s->left)) {
		if (sigwait(&set, &sig))
			continue;
		if (sig == SIGUSR1)
			write_stats(s->d);
		else
			leave_loop(s);
	}
	return NULL;
}

/* Before any thread is started, so that all inherit the mask. */
static void signals_block(void)
{
	struct sigaction sa = {.sa_handler = ignore};
	sigset_t set = handled_signals();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGNAL_NUDGE, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---------------------------------------------------------------- serving */

static int serve(struct usrbiod *d, struct fuse_session *session)
{
	struct signals signals = {.d = d, .session = session, .main = pthread_self()};
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(config, FUSE_THREADS);
	fuse_loop_cfg_set_idle_threads(config, FUSE_THREADS);
	rc = -pthread_create(&signals.thread, NULL, signals_thread, &signals);
	if (rc == 0) {
		rc = fuse_session_loop_mt(session, config);
		atomic_store(&signals.left, true);
		pthread_kill(signals.thread, SIGTERM);
		pthread_join(signals.thread, NULL);
	}
	fuse_loop_cfg_destroy(config);
	return rc;
}

/* Files are served by fd, one for each that the kernel knows. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int run(struct usrbiod *d, int root_fd)
{
	struct fuse_session *session = NULL;
	bool stopped;
	int rc;

	umask(0); /* the kernel has applied the caller's */
	raise_fd_limit();
	signals_block();
	rc = parts_start(d, root_fd);
	if (rc)
		fprintf(stderr, "usrbiod: cannot start: %s\n", strerror(-rc));
	if (rc == 0) {
		session = mount_session(d);
		rc = session ? serve(d, session) : -EIO;
		write_stats(d);
	}
	/* Answers go through the session's fd: nothing may be left that sends one when it is closed. */
	stopped = parts_stop(d);
	if (session)
		fuse_session_unmount(session);
	if (!stopped)
		_exit(1);
	parts_free(d);
	if (session)
		fuse_session_destroy(session);
	return rc ? 1 : 0;
}

/* ---------------------------------------------------------------- starting */

/* In the parent: waits until the daemon serves, or has failed and said why. Does not return there. */
static int daemonise(struct usrbiod *d)
{
	int ends[2], status;
	char byte;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0) {
		fprintf(stderr, "usrbiod: cannot start: %s\n", strerror(errno));
		return -1;
	}
	if (pid == 0) {
		close(ends[0]);
		d->ready_fd = ends[1];
		setsid();
		return 0;
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) == 1)
		exit(0);
	waitpid(pid, &status, 0);
	exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

/* The daemon's working directory is the root; what the user named was relative to his. */
static int make_absolute(struct options *o, char *buf, size_t size)
{
	char cwd[PATH_MAX];

	if (!o->stats_path || o->stats_path[0] == '/' || strcmp(o->stats_path, "-") == 0)
		return 0;
	if (!getcwd(cwd, sizeof(cwd)) || snprintf(buf, size, "%s/%s", cwd, o->stats_path) >= (int)size) {
		fprintf(stderr, "usrbiod: --stats: cannot find out where '%s' is\n", o->stats_path);
		return -1;
	}
	o->stats_path = buf;
	return 0;
}

int main(int argc, char **argv)
{
	static struct usrbiod d = {.ready_fd = -1};
	static char stats_path[2 * PATH_MAX];
	int root_fd;

	switch (options_parse(argc, argv, &d.options)) {
	case OPTIONS_EXIT:
		return 0;
	case OPTIONS_BAD:
		return 2;
	case OPTIONS_RUN:
		break;
	}
	root_fd = open(d.options.backing, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0) {
		fprintf(stderr, "usrbiod: %s: %s\n", d.options.backing, strerror(errno));
		return 1;
	}
	if (mount_check(&d) || make_absolute(&d.options, stats_path, sizeof(stats_path)))
		return 1;
	if (!d.options.foreground && daemonise(&d))
		return 1;
	if (chdir("/"))
		return 1;
	return run(&d, root_fd);
}

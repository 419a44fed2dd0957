/* SPDX-License-Identifier: Apache-2.0 */
#include "registrar.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "pool.h"
#include "sharedsem.h"
#include "wire.h"

static const char *const submit_names[3] = {"submit-ios.ph", "submit-ios", "submit-ios.pl"};

/* ------------------------------------------------------------------ its life */

void usrbio_registrar_hold(struct usrbio_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->refs++;
	pthread_mutex_unlock(&c->lock);
}

void usrbio_registrar_forget(struct usrbio_client *c)
{
	free(c->mount);
	free(c);
}

void usrbio_registrar_drop(struct usrbio_client *c)
{
	bool last;

	pthread_mutex_lock(&c->lock);
	last = --c->refs == 0;
	pthread_mutex_unlock(&c->lock);
	if (!last)
		return;
	pthread_cond_destroy(&c->done);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	usrbio_registrar_forget(c);
}

struct usrbio_client *usrbio_registrar_new(const char *mount, uint32_t timeout_ms)
{
	struct usrbio_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->mount = strdup(mount);
	if (!c->mount) {
		free(c);
		return NULL;
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	pthread_cond_init(&c->done, NULL);
	c->tail = &c->head;
	c->refs = 1;
	c->dir.fd = -1;
	c->timeout_ms = timeout_ms;
	c->pid = getpid();
	return c;
}

/* ------------------------------------------------------------------ what the thread does */

static int read_link(int dir, const char *key, char *out, size_t size)
{
	ssize_t n = readlinkat(dir, key, out, size);

	if (n < 0)
		return -errno;
	if (n == 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	out[n] = '\0';
	return 0;
}

static int open_dir(struct usrbio_client *c)
{
	struct stat st;
	char *path;
	int fd, rc;

	if (asprintf(&path, "%s/" USRBIO_IOVS_DIR, c->mount) < 0)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 ? -errno : 0;
	free(path);
	if (rc < 0)
		return rc;
	usrbio_fork_guard(&c->dir, fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	c->dev = st.st_dev;
	return 0;
}

static bool is_semaphore(const char *path)
{
	const size_t prefix = strlen(USRBIO_SHM_DIR "/sem.");

	return usrbio_shm_path_ok(path) && strncmp(path, USRBIO_SHM_DIR "/sem.", prefix) == 0 && path[prefix];
}

/* Notes the semaphore of one priority, if there is one. */
static int read_submit(struct usrbio_client *c, int i)
{
	char *path = c->submit[i];
	int rc = read_link(c->dir.fd, submit_names[i], path, sizeof(c->submit[i]));
	bool absent = rc == -ENOENT || rc == -EINVAL; /* no such name; not a link */

	if (rc < 0 || !is_semaphore(path))
		path[0] = '\0';
	return absent ? 0 : rc;
}

static int do_open(struct usrbio_client *c)
{
	int rc = open_dir(c);

	for (int i = 0; i < 3 && rc == 0; i++)
		rc = read_submit(c, i);
	if (rc == 0 && !c->submit[1][0])
		rc = -ENOTSUP;
	return rc;
}

/* What the kernel says of a connection that was cut, whatever the moment. */
static int as_gone(int rc)
{
	return rc == -ECONNABORTED ? -ENOTCONN : rc;
}

static int run(struct usrbio_client *c, struct usrbio_link *cmd)
{
	switch (cmd->op) {
	case USRBIO_OP_OPEN:
		return do_open(c);
	case USRBIO_OP_LINK:
		return symlinkat(cmd->target, c->dir.fd, cmd->key) < 0 ? -errno : 0;
	case USRBIO_OP_UNLINK:
		/* On a read-only mount this gives EROFS, and the registration ends with the directory fd. */
		return unlinkat(c->dir.fd, cmd->key, 0) < 0 ? -errno : 0;
	case USRBIO_OP_READLINK:
		return read_link(c->dir.fd, cmd->key, cmd->target, sizeof(cmd->target));
	case USRBIO_OP_RUN:
		return cmd->task->run(cmd->task);
	case USRBIO_OP_END:
		cmd->task->end(cmd->task);
		return 0;
	}
	return -EINVAL;
}

/* ------------------------------------------------------------------ the queue */

static void enqueue(struct usrbio_client *c, struct usrbio_link *cmd)
{
	cmd->state = USRBIO_QUEUED;
	cmd->next = NULL;
	*c->tail = cmd;
	c->tail = &cmd->next;
	pthread_cond_signal(&c->work);
}

/* False when the thread has it already. */
static bool dequeue(struct usrbio_client *c, struct usrbio_link *cmd)
{
	for (struct usrbio_link **at = &c->head; *at; at = &(*at)->next) {
		if (*at != cmd)
			continue;
		*at = cmd->next;
		if (c->tail == &cmd->next)
			c->tail = at;
		return true;
	}
	return false;
}

/* Turns a command that nobody waits for any more into the one that undoes it; false when there is nothing to undo
 * (tests/models/registrar.pml: NOT_REVERSED). */
static bool reverse(struct usrbio_link *cmd, int rc)
{
	if (cmd->op == USRBIO_OP_LINK && rc == 0)
		cmd->op = USRBIO_OP_UNLINK;
	else if (cmd->op == USRBIO_OP_RUN)
		cmd->op = USRBIO_OP_END;
	else
		return false;
	return true;
}

/* Runs the oldest command. The lock is held before and after, and not during the call that may hang. */
static void run_next(struct usrbio_client *c)
{
	struct usrbio_link *cmd = c->head;
	int rc;

	dequeue(c, cmd);
	cmd->state = USRBIO_RUNNING;
	pthread_mutex_unlock(&c->lock);
	rc = as_gone(run(c, cmd));
	pthread_mutex_lock(&c->lock);
	cmd->rc = rc;
	if (!cmd->orphan) {
		cmd->state = USRBIO_DONE;
		pthread_cond_broadcast(&c->done);
	} else if (reverse(cmd, rc)) {
		enqueue(c, cmd);
	} else {
		free(cmd);
	}
}

/* Asks for something that no kernel cache can answer. */
static void look(struct usrbio_client *c)
{
	char target[USRBIO_SHM_PATH_SIZE];
	int rc;

	pthread_mutex_unlock(&c->lock);
	rc = read_link(c->dir.fd, submit_names[1], target, sizeof(target));
	pthread_mutex_lock(&c->lock);
	c->look = false;
	c->probe_rc = as_gone(rc);
	if (rc < 0 && c->notify)
		fst3fs_sem_post(c->notify);
}

/* The official library makes its objects here, for everybody: until their mode was changed, anybody could open them. So
 * this thread gets a mask of its own. Where containers forbid that, their mode is all that is left. */
static void keep_others_out(void)
{
	if (unshare(CLONE_FS) == 0)
		umask(0077);
}

/* Modelled, with those who wait for it, in tests/models/registrar.pml (ENDS_WITH_A_QUEUE). */
static void *registrar_main(void *arg)
{
	struct usrbio_client *c = arg;

	keep_others_out();
	pthread_mutex_lock(&c->lock);
	/* What is queued is done before the end: deregistering by name is exact, while the daemon may see the same
	 * owner in clients of another pid namespace. */
	while (c->head || !c->closing) {
		if (c->head)
			run_next(c);
		else if (c->look)
			look(c);
		else
			pthread_cond_wait(&c->work, &c->lock);
	}
	usrbio_fork_unguard(&c->dir);
	c->ended = true;
	pthread_cond_broadcast(&c->done);
	pthread_mutex_unlock(&c->lock);
	usrbio_registrar_drop(c);
	return NULL;
}

int usrbio_registrar_start(struct usrbio_client *c)
{
	int rc;

	usrbio_registrar_hold(c);
	rc = fst3fs_thread_detach("usrbio-reg", registrar_main, c);
	if (rc < 0)
		usrbio_registrar_drop(c);
	return rc;
}

/* Nobody waits for `cmd` any more. Only what has not begun and leaves nothing behind can be dropped
 * (tests/models/registrar.pml: BEGUN_IS_FREED, TASK_IS_DROPPED). */
static void give_away(struct usrbio_client *c, struct usrbio_link *cmd)
{
	bool begun = cmd->op == USRBIO_OP_UNLINK || !dequeue(c, cmd); /* an unlink is still wanted */

	cmd->orphan = true;
	if (!begun && cmd->op == USRBIO_OP_RUN) {
		cmd->op = USRBIO_OP_END;
		enqueue(c, cmd);
	} else if (!begun) {
		free(cmd);
	}
}

int usrbio_registrar_call(struct usrbio_client *c, struct usrbio_link **cmd)
{
	struct timespec deadline = fst3fs_timespec(fst3fs_now_ns() + c->timeout_ms * FST3FS_NS_PER_MS);
	int rc = 0;

	if (c->pid != getpid())
		return -ECHILD;
	pthread_mutex_lock(&c->lock);
	if (c->closing) {
		pthread_mutex_unlock(&c->lock);
		return -ENOTCONN;
	}
	enqueue(c, *cmd);
	while ((*cmd)->state != USRBIO_DONE && rc == 0)
		rc = pthread_cond_clockwait(&c->done, &c->lock, CLOCK_MONOTONIC, &deadline);
	if ((*cmd)->state == USRBIO_DONE) {
		rc = (*cmd)->rc;
	} else {
		rc = -ETIMEDOUT;
		give_away(c, *cmd);
		*cmd = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void usrbio_registrar_post(struct usrbio_client *c, struct usrbio_link *cmd)
{
	pthread_mutex_lock(&c->lock);
	cmd->orphan = true;
	if (c->ended)
		free(cmd); /* and what it registered is gone with the directory fd */
	else
		enqueue(c, cmd);
	pthread_mutex_unlock(&c->lock);
}

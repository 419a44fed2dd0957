/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "explain.h"
#include "registrar.h"

void usrbio_client_hold(struct usrbio_client *c)
{
	usrbio_registrar_hold(c);
}

void usrbio_client_drop(struct usrbio_client *c)
{
	usrbio_registrar_drop(c);
}

static int command(struct usrbio_client *c, enum usrbio_op op, const char *key, const char *target,
		   struct usrbio_link **out)
{
	struct usrbio_link *cmd = calloc(1, sizeof(*cmd));
	int rc;

	*out = NULL;
	if (!cmd)
		return -ENOMEM;
	cmd->op = op;
	snprintf(cmd->key, sizeof(cmd->key), "%s", key);
	snprintf(cmd->target, sizeof(cmd->target), "%s", target);
	rc = usrbio_registrar_call(c, &cmd);
	if (rc == 0)
		*out = cmd;
	else
		free(cmd);
	return rc;
}

int usrbio_client_open(const char *mount, uint32_t timeout_ms, struct usrbio_client **out, struct fst3fs_error *err)
{
	struct usrbio_client *c = usrbio_registrar_new(mount, timeout_ms);
	struct usrbio_link *cmd;
	int rc;

	if (!c)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a USRBIO client");
	usrbio_shm_sweep();
	rc = usrbio_registrar_start(c);
	if (rc < 0) {
		usrbio_registrar_drop(c);
		return fst3fs_err_set(err, rc, "cannot start a thread: %s", fst3fs_strerror(rc));
	}
	rc = command(c, USRBIO_OP_OPEN, "", "", &cmd);
	free(cmd);
	if (rc < 0) {
		usrbio_client_close(c, 0);
		return usrbio_explain_open(err, mount, rc == -ENOTDIR ? -ENOENT : rc, timeout_ms);
	}
	*out = c;
	return 0;
}

/* Modelled, with usrbio_client_open and the commands, in tests/models/registrar.pml. */
bool usrbio_client_close(struct usrbio_client *c, uint64_t deadline_ns)
{
	struct timespec deadline = fst3fs_timespec(deadline_ns);
	bool ended;
	int rc = 0;

	if (!c)
		return true;
	/* In a child made by fork() there is no thread, and the lock may have been anybody's at that moment. */
	if (c->pid != getpid()) {
		usrbio_registrar_forget(c);
		return true;
	}
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	c->notify = NULL;
	pthread_cond_signal(&c->work);
	while (!c->ended && deadline_ns && rc == 0)
		rc = pthread_cond_clockwait(&c->done, &c->lock, CLOCK_MONOTONIC, &deadline);
	ended = c->ended;
	pthread_mutex_unlock(&c->lock);
	usrbio_client_drop(c);
	return ended;
}

int usrbio_client_probe(struct usrbio_client *c, sem_t *notify)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	rc = c->probe_rc;
	if (rc == 0) {
		c->notify = notify;
		c->look = true;
		pthread_cond_signal(&c->work);
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

dev_t usrbio_client_dev(const struct usrbio_client *c)
{
	return c->dev;
}

void usrbio_client_unnotify(struct usrbio_client *c, const sem_t *sem)
{
	pthread_mutex_lock(&c->lock);
	if (c->notify == sem)
		c->notify = NULL;
	pthread_mutex_unlock(&c->lock);
}

int usrbio_client_link(struct usrbio_client *c, const char *key, const char *target, struct usrbio_link **out,
		       struct fst3fs_error *err)
{
	int rc = command(c, USRBIO_OP_LINK, key, target, out);

	return rc < 0 ? usrbio_explain_link(err, c->mount, rc, c->timeout_ms) : 0;
}

void usrbio_client_unlink(struct usrbio_client *c, struct usrbio_link *link, bool wait)
{
	if (!link)
		return;
	link->op = USRBIO_OP_UNLINK;
	if (!wait) {
		usrbio_registrar_post(c, link);
		return;
	}
	link->state = USRBIO_IDLE;
	usrbio_registrar_call(c, &link);
	free(link);
}

void usrbio_link_forget(struct usrbio_link *link)
{
	free(link);
}

int usrbio_client_readlink(struct usrbio_client *c, const char *key, char *out, size_t size)
{
	struct usrbio_link *cmd;
	int rc = command(c, USRBIO_OP_READLINK, key, "", &cmd);

	if (rc == 0 && (size_t)snprintf(out, size, "%s", cmd->target) >= size)
		rc = -ENAMETOOLONG;
	free(cmd);
	return rc;
}

/* It is everybody's to write to, and so to cut short: then posting it would end the process. */
static int check_sem(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_size >= (off_t)sizeof(sem_t) ? 0 : -EINVAL;
}

int usrbio_client_submit_sem(struct usrbio_client *c, int priority, sem_t **out, struct fst3fs_error *err)
{
	const char *path = c->submit[priority < 0 ? 0 : priority > 0 ? 2 : 1];
	const size_t prefix = strlen(USRBIO_SHM_DIR "/sem.");
	char name[USRBIO_SHM_PATH_SIZE + 1];
	sem_t *sem;
	int rc;

	if (!path[0])
		return fst3fs_err_set(err, -ENOTSUP, "%s has no rings of this priority", c->mount);
	rc = check_sem(path);
	if (rc < 0)
		return usrbio_explain_sem(err, c->mount, rc, path);
	snprintf(name, sizeof(name), "/%s", path + prefix);
	sem = sem_open(name, 0);
	if (sem == SEM_FAILED)
		return usrbio_explain_sem(err, c->mount, -errno, path);
	*out = sem;
	return 0;
}

int usrbio_client_run(struct usrbio_client *c, struct usrbio_task **task)
{
	struct usrbio_link *cmd = calloc(1, sizeof(*cmd));
	int rc;

	(*task)->link = cmd;
	if (!cmd)
		return -ENOMEM;
	cmd->op = USRBIO_OP_RUN;
	cmd->task = *task;
	rc = usrbio_registrar_call(c, &cmd);
	if (!cmd)
		*task = NULL;
	return rc;
}

void usrbio_client_end(struct usrbio_client *c, struct usrbio_task *task)
{
	struct usrbio_link *cmd = task->link;

	if (!cmd) {
		task->end(task); /* it never ran */
		return;
	}
	cmd->op = USRBIO_OP_END;
	usrbio_registrar_post(c, cmd);
}

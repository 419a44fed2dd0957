/* SPDX-License-Identifier: Apache-2.0 */
#include "submit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "process.h"
#include "sharedsem.h"
#include "sigbus.h"

#define SHM_DIR "/dev/shm"
#define NAME_FORMAT "sem.usrbiod-%llu-%d-%llu"
#define PATH_PREFIX_LEN (sizeof(SHM_DIR "/sem.") - 1)

static unsigned long long pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (unsigned long long)st.st_ino;
}

void submit_sweep(void)
{
	DIR *dir = opendir(SHM_DIR);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		unsigned long long ns, started;
		int pid;

		if (sscanf(entry->d_name, NAME_FORMAT, &ns, &pid, &started) != 3)
			continue;
		if (ns == pid_namespace() && fst3fs_process_start(pid) != started)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

int submit_create(struct submit *s, char suffix)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	snprintf(s->path, sizeof(s->path), SHM_DIR "/" NAME_FORMAT "-%c", pid_namespace(), (int)getpid(),
		 (unsigned long long)fst3fs_process_start(getpid()), suffix);
	s->path[PATH_PREFIX_LEN - 1] = '/';
	s->sem = sem_open(s->path + PATH_PREFIX_LEN - 1, O_CREAT | O_EXCL, 0666, 0);
	s->path[PATH_PREFIX_LEN - 1] = '.';
	if (s->sem == SEM_FAILED) {
		s->sem = NULL;
		return -errno;
	}
	s->area = sigbus_watch((void *)((uintptr_t)s->sem & ~(page - 1)), page);
	return s->area ? 0 : -ENFILE;
}

void submit_destroy(struct submit *s)
{
	if (!s->sem)
		return;
	sigbus_unwatch(s->area);
	sem_close(s->sem);
	unlink(s->path);
	s->sem = NULL;
}

/* Modelled in tests/models/ring.pml: the posts are taken before the scan, not after it (D_DRAINS_AFTER_SCAN). */
bool submit_wait(struct submit *s)
{
	/* A client may also have taken the semaphore's memory away while this thread slept on it: no post would ever
	 * wake it again. */
	struct timespec until = fst3fs_timespec(fst3fs_now_ns() + 200 * FST3FS_NS_PER_MS);

	if (fst3fs_sem_wait(s->sem, CLOCK_MONOTONIC, &until))
		return false;
	/* One scan serves all that was posted by now. */
	fst3fs_sem_drain(s->sem);
	return true;
}

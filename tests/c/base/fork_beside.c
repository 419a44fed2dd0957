/* SPDX-License-Identifier: Apache-2.0 */
#include "fork_beside.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 2, FORKS = 300, CHILD_S = 30 };

static atomic_bool stop;

static void *call_for_ever(void *arg)
{
	void (*const *call)(void) = arg;

	while (!stop)
		(*call)();
	return NULL;
}

static bool child_ends(void (*call)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(CHILD_S);
		call();
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool fork_beside(void (*call)(void))
{
	pthread_t threads[THREADS];
	bool well = true;

	stop = false;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, call_for_ever, &call) != 0)
			return false;
	for (int i = 0; i < FORKS && well; i++)
		well = child_ends(call);
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return well;
}

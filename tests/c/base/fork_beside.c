/* SPDX-License-Identifier: Apache-2.0 */
#include "fork_beside.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "emulated.h"

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

/* NULL: nothing is in the way. */
static const char *hangs_by_itself(void)
{
#ifdef __SANITIZE_THREAD__
	return "TSan's dlopen takes a lock (of what it ignores) that its fork does not wait for";
#else
	return emulated() ? "qemu forks with its own locks held" : NULL;
#endif
}

void assert_children_can(void (*call)(void))
{
	pthread_t threads[THREADS];
	bool well = true;

	if (hangs_by_itself()) {
		print_message("%s\n", hangs_by_itself());
		skip();
	}
	stop = false;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_for_ever, &call), 0);
	for (int i = 0; i < FORKS && well; i++)
		well = child_ends(call);
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_true(well);
}

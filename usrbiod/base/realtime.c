/* SPDX-License-Identifier: Apache-2.0 */
#include "realtime.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

void realtime_thread(const char *name)
{
	const struct sched_param lowest = {.sched_priority = 1};

	pthread_setname_np(pthread_self(), name);
	/* The default slack of 50 us would be a tenth of a typical latency. */
	prctl(PR_SET_TIMERSLACK, 1ul);
	/* Where copying takes all CPUs, an ordinary thread wakes milliseconds late, which the link would seem to lose.
	 * Without the right to this the daemon is less exact, and no less correct. */
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &lowest);
}

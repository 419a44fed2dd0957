/* SPDX-License-Identifier: Apache-2.0 */
#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MAX_AREAS = 2048,
};

/* The handler may run at any time on any thread, so it reads with atomics and takes no lock. `end` is written last and
 * cleared first: an area with end == 0 is free. */
struct sigbus_area {
	_Atomic uintptr_t base;
	_Atomic uintptr_t end;
	_Atomic bool hit;
};

static struct sigbus_area areas[MAX_AREAS];
static pthread_mutex_t areas_lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t page_bytes;

static struct sigbus_area *area_of(uintptr_t addr)
{
	for (size_t i = 0; i < MAX_AREAS; i++) {
		uintptr_t end = atomic_load(&areas[i].end);

		if (addr < end && addr >= atomic_load(&areas[i].base))
			return &areas[i];
	}
	return NULL;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	struct sigbus_area *g = area_of(addr);
	void *page = (void *)(addr & ~(page_bytes - 1));
	int saved = errno;

	(void)context;
	if (!g || mmap(page, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
			  MAP_FAILED) {
		/* Not ours: let the access fault again and end the process in the usual way. */
		signal(sig, SIG_DFL);
		return;
	}
	atomic_store(&g->hit, true);
	errno = saved;
}

int sigbus_init(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};

	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	return sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}

struct sigbus_area *sigbus_watch(void *base, size_t size)
{
	struct sigbus_area *free_area = NULL;

	pthread_mutex_lock(&areas_lock);
	for (size_t i = 0; i < MAX_AREAS && !free_area; i++) {
		if (atomic_load(&areas[i].end) == 0)
			free_area = &areas[i];
	}
	if (free_area) {
		atomic_store(&free_area->hit, false);
		atomic_store(&free_area->base, (uintptr_t)base);
		atomic_store(&free_area->end, (uintptr_t)base + size);
	}
	pthread_mutex_unlock(&areas_lock);
	return free_area;
}

bool sigbus_hit(const struct sigbus_area *g)
{
	return atomic_load(&g->hit);
}

void sigbus_unwatch(struct sigbus_area *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&areas_lock);
	atomic_store(&g->end, 0);
	pthread_mutex_unlock(&areas_lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_pin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "cuda_numa.h"
#include "pool.h"

struct fst3fs_cuda_pin {
	const struct fst3fs_cuda_driver *cu;
	struct fst3fs_cuda_context ctx; /* that the registration belongs to: kept for as long as that lasts */
	void *base;
	size_t size;
	int refs; /* under `lock`, as are `ours`, `result` and `numa_rc` until `state` is set */
	_Atomic int state;
	bool ours; /* registered by us, so for us to undo */
	fst3fs_cu_result result;
	int numa_node, numa_rc;
	_Atomic bool said_refused, said_not_moved;
	struct fst3fs_cuda_pin *next;
};

/* No fork waits for it: it is for CUDA alone, which does not work in a child either. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t known = PTHREAD_COND_INITIALIZER;
static struct fst3fs_cuda_pin *pins;

/* ------------------------------------------------------------------ doing it */

static fst3fs_cu_result register_memory(struct fst3fs_cuda_pin *pin)
{
	const struct fst3fs_cuda_driver *cu = pin->cu;
	fst3fs_cu_result rc = fst3fs_cuda_enter(cu, &pin->ctx);

	if (rc != FST3FS_CU_SUCCESS)
		return rc;
	/* Portable: page-locked for every context, so that copies to other GPUs gain as well. */
	rc = cu->host_register(pin->base, pin->size, FST3FS_CU_REGISTER_PORTABLE);
	fst3fs_cuda_leave(cu);
	return rc;
}

static void *pin_thread(void *arg)
{
	struct fst3fs_cuda_pin *pin = arg;
	fst3fs_cu_result rc;

	/* Before page-locking: locked pages cannot be moved. */
	pin->numa_rc = fst3fs_cuda_numa_place(pin->cu, pin->ctx.ordinal, pin->base, pin->size, &pin->numa_node);
	rc = register_memory(pin);
	pthread_mutex_lock(&lock);
	pin->ours = rc == FST3FS_CU_SUCCESS;
	pin->result = rc;
	/* Memory that somebody else has registered is as good. */
	atomic_store_explicit(&pin->state, pin->ours || rc == FST3FS_CU_ALREADY_REGISTERED, memory_order_release);
	pthread_cond_broadcast(&known);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void unregister_memory(struct fst3fs_cuda_pin *pin)
{
	if (!pin->ours || fst3fs_cuda_enter(pin->cu, &pin->ctx) != FST3FS_CU_SUCCESS)
		return; /* with the context the registration is gone, too */
	pin->cu->host_unregister(pin->base);
	fst3fs_cuda_leave(pin->cu);
}

/* ------------------------------------------------------------------ sharing it */

static struct fst3fs_cuda_pin *pin_find(const struct fst3fs_dev_config *config)
{
	struct fst3fs_cuda_pin *pin = pins;

	while (pin && (pin->base != config->staging || pin->size != config->staging_size))
		pin = pin->next;
	return pin;
}

static struct fst3fs_cuda_pin *pin_new(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place,
				       const struct fst3fs_dev_config *config)
{
	struct fst3fs_cuda_pin *pin = calloc(1, sizeof(*pin));

	if (!pin)
		return NULL;
	*pin = (struct fst3fs_cuda_pin){
		.cu = cu, .base = config->staging, .size = config->staging_size, .state = -1, .numa_node = -1};
	if (fst3fs_cuda_context_get(cu, place, &pin->ctx, NULL) < 0) {
		free(pin);
		return NULL;
	}
	pin->next = pins;
	pins = pin;
	return pin;
}

struct fst3fs_cuda_pin *fst3fs_cuda_pin_get(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place,
					    const struct fst3fs_dev_config *config)
{
	struct fst3fs_cuda_pin *pin;
	bool fresh;

	if (!cu->host_register || !cu->host_unregister)
		return NULL;
	pthread_mutex_lock(&lock);
	pin = pin_find(config);
	fresh = !pin;
	if (fresh)
		pin = pin_new(cu, place, config);
	if (pin)
		pin->refs++;
	pthread_mutex_unlock(&lock);
	if (pin && fresh && fst3fs_thread_detach("fst3fs-pin", pin_thread, pin) < 0)
		pin_thread(pin);
	return pin;
}

void fst3fs_cuda_pin_put(struct fst3fs_cuda_pin *pin)
{
	struct fst3fs_cuda_pin **at = &pins;

	if (!pin)
		return;
	pthread_mutex_lock(&lock);
	if (--pin->refs > 0) {
		pthread_mutex_unlock(&lock);
		return;
	}
	while (atomic_load_explicit(&pin->state, memory_order_relaxed) < 0)
		pthread_cond_wait(&known, &lock);
	while (*at != pin)
		at = &(*at)->next;
	*at = pin->next;
	/* Still under the lock: whoever asks for the same memory next must find it unregistered. */
	unregister_memory(pin);
	pthread_mutex_unlock(&lock);
	fst3fs_cuda_context_put(pin->cu, &pin->ctx);
	free(pin);
}

/* ------------------------------------------------------------------ saying it */

int fst3fs_cuda_pin_state(struct fst3fs_cuda_pin *pin)
{
	return atomic_load_explicit(&pin->state, memory_order_acquire);
}

static int say_not_moved(const struct fst3fs_cuda_pin *pin, const char *device, char *line, size_t size)
{
	snprintf(line, size, "%s: the staging buffer stays where it is, not on NUMA node %d: %s", device,
		 pin->numa_node, fst3fs_strerror(pin->numa_rc));
	return FST3FS_LOG_INFO;
}

static int say_refused(const struct fst3fs_cuda_pin *pin, const char *device, char *line, size_t size)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
	char now[32] = "unlimited";

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur != RLIM_INFINITY)
		snprintf(now, sizeof(now), "%llu KiB", (unsigned long long)limit.rlim_cur >> 10);
	snprintf(line, size,
		 "%s: the staging buffer of %zu KiB could not be page-locked (cuMemHostRegister: %s); copies work, "
		 "but at a fraction of the link's speed and less overlapped with reading; raise the memlock limit "
		 "(now %s: ulimit -l, LimitMEMLOCK=, docker --ulimit memlock=-1) or take a smaller buffer_size",
		 device, pin->size >> 10, fst3fs_cuda_result_name(pin->cu, pin->result), now);
	return FST3FS_LOG_WARNING;
}

int fst3fs_cuda_pin_remark(struct fst3fs_cuda_pin *pin, const char *device, char *line, size_t size)
{
	int state = fst3fs_cuda_pin_state(pin);

	if (state < 0)
		return 0;
	if (state == 0 && !atomic_exchange(&pin->said_refused, true))
		return say_refused(pin, device, line, size);
	if (pin->numa_rc < 0 && !atomic_exchange(&pin->said_not_moved, true))
		return say_not_moved(pin, device, line, size);
	return 0;
}

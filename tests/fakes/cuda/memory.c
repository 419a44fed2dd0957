/* SPDX-License-Identifier: Apache-2.0 */
/* Device, managed and page-locked memory, and what an address is. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

struct allocation *find_memory(uint64_t address, size_t size)
{
	for (struct allocation *m = fake.memory; m; m = m->next)
		if (!m->freed && address >= (uintptr_t)m->address && address - (uintptr_t)m->address < m->size &&
		    size <= m->size - (address - (uintptr_t)m->address))
			return m;
	return NULL;
}

static bool is_host(const struct allocation *m)
{
	return m->kind == MEMORY_HOST || m->kind == MEMORY_REGISTERED;
}

struct allocation *find_pinned(const void *address, size_t size)
{
	struct allocation *m = find_memory((uintptr_t)address, size);

	return m && is_host(m) ? m : NULL;
}

static struct allocation *memory_add(struct allocation with)
{
	struct allocation *m = malloc(sizeof(*m));

	*m = with;
	m->next = fake.memory;
	fake.memory = m;
	return m;
}

/* The same pages twice: where the caller sees them nobody may touch them. */
static CUresult device_memory(CUdeviceptr *out, size_t size, int device, struct CUctx_st *ctx)
{
	size_t whole = (size + 4095) & ~(size_t)4095;
	int fd = size ? memfd_create("fake-device-memory", MFD_CLOEXEC) : -1;
	void *inside = MAP_FAILED, *outside = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)whole) == 0) {
		inside = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		outside = mmap(NULL, whole, PROT_NONE, MAP_SHARED, fd, 0);
	}
	if (fd >= 0)
		close(fd);
	if (inside == MAP_FAILED || outside == MAP_FAILED)
		return size ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
	memory_add((struct allocation){.kind = MEMORY_DEVICE,
				       .address = outside,
				       .inside = inside,
				       .size = whole,
				       .device = device,
				       .ctx = ctx});
	*out = (uintptr_t)outside;
	return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size)
{
	struct CUctx_st *ctx;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc == CUDA_SUCCESS)
		rc = device_memory(out, size, ctx->device, ctx);
	return leave(rc);
}

CUresult fake_cuda_alloc_vmm(CUdeviceptr *out, size_t size, int device)
{
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = device_memory(out, size, device, NULL);
	return leave(rc);
}

/* Memory that both sides reach. */
static CUresult shared_memory(const char *name, enum memory_kind kind, void **out, size_t size)
{
	struct CUctx_st *ctx;
	CUresult rc = enter(name);
	void *p;

	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc != CUDA_SUCCESS)
		return leave(rc);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return leave(CUDA_ERROR_OUT_OF_MEMORY);
	memory_add((struct allocation){
		.kind = kind, .address = p, .inside = p, .size = size, .device = ctx->device, .ctx = ctx});
	*out = p;
	return leave(CUDA_SUCCESS);
}

CUresult cuMemAllocManaged(CUdeviceptr *out, size_t size, unsigned flags)
{
	void *p = NULL;
	CUresult rc = shared_memory(__func__, MEMORY_MANAGED, &p, size);

	(void)flags;
	*out = (uintptr_t)p;
	return rc;
}

CUresult cuMemHostAlloc(void **out, size_t size, unsigned flags)
{
	(void)flags;
	return shared_memory(__func__, MEMORY_HOST, out, size);
}

/* Copies that still use the memory. Those of a broken context will never run. */
static int in_flight(const struct allocation *m)
{
	return m->ctx && m->ctx->broken ? 0 : m->in_flight;
}

static CUresult memory_free(struct allocation *m)
{
	if (!m)
		return CUDA_ERROR_INVALID_VALUE;
	if (in_flight(m) > 0)
		wrong("memory freed under %d copies in flight", m->in_flight);
	m->freed = true;
	while (m->in_flight > 0 && !fake.hung)
		pthread_cond_wait(&fake.changed, &fake.lock);
	if (m->inside != m->address)
		munmap(m->inside, m->size);
	munmap(m->address, m->size);
	return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
	CUresult rc = enter(__func__);

	return leave(rc ? rc : memory_free(find_memory(address, 1)));
}

CUresult cuMemFreeHost(void *address)
{
	CUresult rc = enter(__func__);

	return leave(rc ? rc : memory_free(find_memory((uintptr_t)address, 1)));
}

/* ------------------------------------------------------------------ page-locking */

CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned flags)
{
	struct CUctx_st *ctx;
	unsigned delay = fake.delay_us;
	CUresult rc;

	usleep(delay); /* it takes a while, and other calls go on meanwhile */
	rc = enter(__func__);
	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc != CUDA_SUCCESS)
		return leave(rc);
	if (flags != 1)
		wrong("staging memory registered without PORTABLE (flags %u)", flags);
	if (find_memory((uintptr_t)address, 1))
		return leave(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	memory_add((struct allocation){.kind = MEMORY_REGISTERED,
				       .address = address,
				       .inside = address,
				       .size = size,
				       .device = ctx->device,
				       .ctx = ctx});
	fake.counts.registrations++;
	return leave(CUDA_SUCCESS);
}

CUresult cuMemHostUnregister(void *address)
{
	struct allocation *m;
	CUresult rc = enter(__func__);

	if (rc != CUDA_SUCCESS)
		return leave(rc);
	m = find_memory((uintptr_t)address, 1);
	if (!m || m->kind != MEMORY_REGISTERED || m->address != address) {
		wrong("unregistering memory that is not registered");
		return leave(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	}
	if (in_flight(m) > 0)
		wrong("memory unregistered under %d copies in flight", m->in_flight);
	m->freed = true;
	fake.counts.registrations--;
	return leave(CUDA_SUCCESS);
}

/* ------------------------------------------------------------------ addresses */

static void attribute(const struct allocation *m, unsigned name, void *value)
{
	switch (name) {
	case 1:
		*(struct CUctx_st **)value = m ? m->ctx : NULL;
		break;
	case 2:
		*(unsigned *)value = !m ? 0 : is_host(m) ? 1 : 2;
		break;
	case 8:
		*(unsigned *)value = m && m->kind == MEMORY_MANAGED;
		break;
	case 9:
		*(int *)value = m ? m->device : -2;
		break;
	default:
		wrong("pointer attribute %u is not known here", name);
	}
}

CUresult cuPointerGetAttributes(unsigned n, unsigned *names, void **values, CUdeviceptr address)
{
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		for (unsigned i = 0; i < n; i++)
			attribute(find_memory(address, 1), names[i], values[i]);
	return leave(rc);
}

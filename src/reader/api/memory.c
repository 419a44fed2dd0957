/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the library hands out: what its kinds have in common, and the one that no reader knows. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory_i.h"
#include "pages.h"

int fst3fs_memory_check_size(uint64_t size, struct fst3fs_error *err)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	if (size > 0 && size <= ram)
		return 0;
	return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
				   "%" PRIu64 " bytes asked for: must be between 1 and this machine's %" PRIu64, size,
				   ram);
}

void *fst3fs_memory_address(const struct fst3fs_memory *m)
{
	return m->base;
}

uint64_t fst3fs_memory_size(const struct fst3fs_memory *m)
{
	return m->size;
}

void fst3fs_memory_free(struct fst3fs_memory *m)
{
	if (m)
		m->free(m);
}

/* A child after fork has a copy of its own, and gives that back. */
static void host_free(struct fst3fs_memory *m)
{
	munmap(m->base, fst3fs_page_round(m->size));
	free(m);
}

int fst3fs_alloc_host(uint64_t size, struct fst3fs_memory **out, struct fst3fs_error *err)
{
	struct fst3fs_memory *m;
	int rc;

	fst3fs_err_reset(err);
	rc = fst3fs_memory_check_size(size, err);
	if (rc < 0)
		return rc;
	m = calloc(1, sizeof(*m));
	rc = m ? fst3fs_pages_map(fst3fs_page_round(size), &m->base) : -ENOMEM;
	if (rc < 0) {
		free(m);
		return fst3fs_err_set(err, rc, "no memory of %" PRIu64 " bytes: %s", size, fst3fs_strerror(rc));
	}
	m->size = size;
	m->free = host_free;
	*out = m;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

size_t fst3fs_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

size_t fst3fs_page_round(size_t size)
{
	size_t page = fst3fs_page_size();

	return (size + page - 1) / page * page;
}

/* Address space for `size` bytes, a multiple of pages, that begin at a huge page; NULL when it is short of that. */
static void *reserve(size_t size)
{
	size_t before, after;
	uint8_t *base =
		mmap(NULL, size + FST3FS_HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)base % FST3FS_HUGE_PAGE;
	after = FST3FS_HUGE_PAGE - before;
	if (before)
		munmap(base, before);
	if (after)
		munmap(base + before + size, after);
	return base + before;
}

static int map_aligned(int fd, size_t size, int flags, void **out)
{
	void *at = size >= FST3FS_HUGE_PAGE ? reserve(fst3fs_page_round(size)) : NULL;
	void *base = mmap(at, size, PROT_READ | PROT_WRITE, flags | (at ? MAP_FIXED : 0), fd, 0);
	int rc = base == MAP_FAILED ? -errno : 0;

	if (rc < 0 && at)
		munmap(at, size);
	if (rc == 0)
		*out = base;
	return rc;
}

int fst3fs_pages_map(size_t size, void **out)
{
	int rc = map_aligned(-1, size, MAP_PRIVATE | MAP_ANONYMOUS, out);

	/* Advice: kernels without huge pages refuse it. */
	if (rc == 0)
		madvise(*out, size, MADV_HUGEPAGE);
	return rc;
}

int fst3fs_pages_map_shared(int fd, size_t size, void **out)
{
	return map_aligned(fd, size, MAP_SHARED, out);
}

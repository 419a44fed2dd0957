/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include <errno.h>
#include <stdint.h>
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

/* Cuts a mapping that is too long by a huge page down to `size` bytes that begin at one. */
static void *trim(uint8_t *base, size_t size)
{
	size_t before = -(uintptr_t)base % FST3FS_HUGE_PAGE, after = FST3FS_HUGE_PAGE - before;

	if (before)
		munmap(base, before);
	if (after)
		munmap(base + before + size, after);
	return base + before;
}

int fst3fs_pages_map(size_t size, void **out)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *base = MAP_FAILED;

	if (size >= FST3FS_HUGE_PAGE) {
		base = mmap(NULL, size + FST3FS_HUGE_PAGE, prot, flags, -1, 0);
		if (base != MAP_FAILED)
			base = trim(base, size);
	}
	if (base == MAP_FAILED)
		base = mmap(NULL, size, prot, flags, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	/* Advice: kernels without huge pages refuse it. */
	madvise(base, size, MADV_HUGEPAGE);
	*out = base;
	return 0;
}

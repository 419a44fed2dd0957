/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in pages: mapped so that huge ones fit, and put there before anyone needs them. */
#ifndef FST3FS_PAGES_H
#define FST3FS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one entry of a page table's second level maps, where pages have 4 KiB: the huge page that memory is aligned
 * for. */
#define FST3FS_HUGE_PAGE (2ul << 20)

size_t fst3fs_page_size(void);
/* `size`, and what is missing to whole pages. */
size_t fst3fs_page_round(size_t size);

/* Maps `size` bytes of private, zeroed memory that nothing has touched, huge pages asked for; or
 * of the object `fd`, shared. From a huge page's size on it begins at a multiple of that. 0 or a negative errno. Undone
 * by munmap. */
int fst3fs_pages_map(size_t size, void **out);
int fst3fs_pages_map_shared(int fd, size_t size, void **out);

/* ------------------------------------------------------------------ putting them there */

/* Whether the kernel does so when asked: 0, or why not (-EINVAL before Linux 5.14; what a seccomp filter says). Asked
 * once. */
int fst3fs_pages_can_populate(void);
/* Whether private memory may be put into huge pages that nobody has asked for: not where the administrator has switched
 * them off. Asked once. */
bool fst3fs_pages_can_collapse(void);

/* What was put there, in bytes, and how much of that in huge pages. */
struct fst3fs_populated {
	uint64_t bytes, huge;
};

/* As much as fst3fs_pages_populate looks at together. */
#define FST3FS_STRETCH (8ul << 20)

/*
 * Makes the whole pages of [base, base + size), at most a stretch, resident for writing. What they hold stays; what is
 * there already costs a look at the page table. Nothing about the mapping changes. With `collapse`, huge pages of which
 * nothing is there come whole, which is a quarter of the work and less.
 *
 * The memory may be anyone's, of any kind, or gone: what the kernel refuses stays as it was. 0, or what it said to huge
 * pages; -EBUSY: the control group is at its limit, and then the rest was left alone.
 */
int fst3fs_pages_populate(void *base, size_t size, bool collapse, struct fst3fs_populated *made);

/* Puts all huge pages that lie wholly inside the caller's own, fresh [base, base + size) there, on as many threads as
 * are worth while; how many bytes. The rest is as it was. */
size_t fst3fs_pages_fill(void *base, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Private memory of this process, in huge pages where the kernel has them. */
#ifndef FST3FS_PAGES_H
#define FST3FS_PAGES_H

#include <stddef.h>

/* The largest page that is worth aligning for: what a page-table entry of the second level maps. */
#define FST3FS_HUGE_PAGE (2ul << 20)

size_t fst3fs_page_size(void);
/* `size`, and what is missing to whole pages. */
size_t fst3fs_page_round(size_t size);

/* Maps `size` bytes (a multiple of pages) of zeroed memory that nothing has touched, huge pages asked for. 0 or a
 * negative errno. Undone by munmap. */
int fst3fs_pages_map(size_t size, void **out);

#endif

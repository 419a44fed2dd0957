/* SPDX-License-Identifier: Apache-2.0 */
/* What was allocated and not given back yet, and where. */
#ifndef HELD_H
#define HELD_H

void held_add(void *what, void *site); /* NULL is fine */
void held_remove(const void *what);    /* NULL, and what was never added, is fine */
void held_map(long bytes);	       /* negative: unmapped */

long held_count(void);
long held_mapped(void);
void *held_site(long i); /* NULL: there are fewer */

#endif

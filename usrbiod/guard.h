/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory shared with clients that may shrink under the daemon's hands.
 *
 * A client can truncate its shared-memory object, or leave it sparse on a full file system, after it was mapped here:
 * the next access would be a SIGBUS. The handler puts an ordinary page of zeros in place of the missing one and marks
 * the area; the code that was interrupted goes on with zeros, which it has to check like any other value, and finds the
 * mark afterwards.
 */
#ifndef USRBIOD_GUARD_H
#define USRBIOD_GUARD_H

#include <stdbool.h>
#include <stddef.h>

struct guard;

/* Installs the SIGBUS handler of the process. 0 or a negative errno. */
int guard_init(void);

/* Watches `size` bytes at `base` (start of a mapping). NULL: too many areas. */
struct guard *guard_add(void *base, size_t size);
/* Has a page of this area been replaced? */
bool guard_hit(const struct guard *g);
/* Before the memory is unmapped. NULL is fine. */
void guard_remove(struct guard *g);

#endif

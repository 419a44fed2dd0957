/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory shared with clients that may shrink under the daemon's hands.
 *
 * A client can truncate its shared-memory object, or leave it sparse on a full file system, after it was mapped here:
 * the next access would be a SIGBUS. The handler puts an ordinary page of zeros in place of the missing one and marks
 * the area; the code that was interrupted goes on with zeros, which it has to check like any other value, and finds the
 * mark afterwards.
 */
#ifndef USRBIOD_SIGBUS_H
#define USRBIOD_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>

struct sigbus_area;

/* Installs the SIGBUS handler of the process. 0 or a negative errno. */
int sigbus_init(void);

/* Watches `size` bytes at `base` (start of a mapping). NULL: too many areas. */
struct sigbus_area *sigbus_watch(void *base, size_t size);
/* Has a page of this area been replaced? */
bool sigbus_hit(const struct sigbus_area *g);
/* Before the memory is unmapped. NULL is fine. */
void sigbus_unwatch(struct sigbus_area *g);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's parts, from the options to what serves. */
#ifndef USRBIOD_PARTS_H
#define USRBIOD_PARTS_H

#include <stdbool.h>

#include "usrbiod.h"

/* Takes `root_fd`, the directory that is served. 0 or a negative errno; parts_stop() and parts_free() are due either
 * way. */
int parts_start(struct usrbiod *d, int root_fd);
/* Ends all threads. True when none is stuck in the backing file system, so that memory may be freed. */
bool parts_stop(struct usrbiod *d);
void parts_free(struct usrbiod *d);

#endif

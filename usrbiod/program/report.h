/* SPDX-License-Identifier: Apache-2.0 */
/* The statistics as JSON. */
#ifndef USRBIOD_REPORT_H
#define USRBIOD_REPORT_H

#include "stats.h"
#include "storage.h"

/* Writes the file as a whole or not at all; "-" is standard output. 0 or a negative errno. */
int report_write(struct stats *s, struct storage *storage, const char *path);

#endif

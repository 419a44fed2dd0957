/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: all of its parts, made and ended in parts.c. */
#ifndef USRBIOD_H
#define USRBIOD_H

#include "fs.h"
#include "options.h"
#include "request.h"

struct usrbiod {
	struct fs fs; /* first: the session's user data */
	struct options options;
	struct stats stats;
	struct storage storage;
	struct backend backend; /* of the rings */
	int ready_fd;		/* the waiting parent's pipe, -1 = none */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What is around a ring of usrbiod's: files, buffers of two users, storage, and threads that copy. Made once. */
#ifndef RINGS_WORLD_H
#define RINGS_WORLD_H

#include "job.h"

enum {
	WORLD_BUFFERS = 4, /* of the ring's user, whole and in blocks; another user's; one that is a ring */
	WORLD_FILES = 4,   /* bytes, holes, one that is not open, the root directory */
};

struct world;

/* `kind` says what is simulated: faults, a mount that is read-only, bytes that are not moved. */
struct world *world_begin(unsigned kind);
/* Checks that nothing is held any more, and that nothing outside of the user's buffers was written. `wrote`: to files.
 */
void world_end(struct world *w, bool wrote);

const struct backend *world_backend(const struct world *w);
/* Number of a file, id of a buffer. One past the last is one that is not there. */
uint64_t world_file(const struct world *w, unsigned i);
const uint8_t *world_buffer(const struct world *w, unsigned i);

/* Runs a job and completes it, unless it hangs on purpose. */
void world_run(struct world *w, struct job *job);

#endif

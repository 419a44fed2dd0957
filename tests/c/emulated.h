/* SPDX-License-Identifier: Apache-2.0 */
/* Tests for another architecture run under qemu-user (hack/emulate), which cannot do all that a kernel does. */
#ifndef EMULATED_H
#define EMULATED_H

#include <stdbool.h>
#include <stdlib.h>

static inline bool emulated(void)
{
	return getenv("EMULATED") != NULL; /* NOLINT(concurrency-mt-unsafe): nobody changes it */
}

#endif

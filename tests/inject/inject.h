/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one call of a library fail: the N-th that it makes from one place in its code, to the C library or to Python,
 * while armed.
 *
 * The calls of that library alone, because it is its table of imported functions that is changed: nothing needs to be
 * loaded before anything else, and it works under sanitizers too. What the library allocates is counted besides.
 */
#ifndef INJECT_H
#define INJECT_H

#include <stddef.h>

#pragma GCC visibility push(default)

/* Changes the imports of the loaded object whose path ends in `name`; "" is the program itself. How many were changed,
 * or -1: no such object. */
int inject_hook(const char *name);

/* From here on calls count, and the `nth` (from 1) from `place` fails, with its first errno or, `second`, with the
 * other if it has one. A place is what inject_call gives; 0 = none fails. */
void inject_arm(size_t place, long nth, int second);
/* The end of that; how many calls there were. */
long inject_disarm(void);

/* What failed since the last inject_arm: the function ("" = nothing) and its errno (0 = an exception of Python's). */
const char *inject_failed(int *code);
/* Has a function another errno? */
int inject_has_second(const char *function);
/* Call `nth` of those counted since the last inject_arm: the function's name, and the place that it was called from.
 * NULL: there was none. */
const char *inject_call(long nth, size_t *place);
/* A place as debuggers name it: an object, and an address in it. */
const char *inject_where(size_t place, size_t *address);

/* What the hooked objects hold: allocations, streams and directories; and bytes of mappings. */
long inject_held(void);
long inject_mapped(void);
/* Where number `i` of the allocations was made, in any order; 0: there are fewer. */
size_t inject_holder(long i);

#pragma GCC visibility pop

#endif

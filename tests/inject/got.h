/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that a loaded object imports. */
#ifndef GOT_H
#define GOT_H

/* Puts `with(name)`, unless that is NULL, in the place of each function that the object imports whose path ends in
 * `object`; "" is the program itself. How many, or -1: no such object. */
int got_replace(const char *object, void *(*with)(const char *name));

#endif

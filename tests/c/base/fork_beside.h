/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORK_BESIDE_H
#define FORK_BESIDE_H

/* Forks again and again while other threads make a call, and makes it in each child, none of which may hang. The test
 * is skipped, and says why, where what it runs on hangs by itself. */
void assert_children_can(void (*call)(void));

#endif

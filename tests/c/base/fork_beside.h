/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORK_BESIDE_H
#define FORK_BESIDE_H

/* Forks again and again while other threads make a call, and makes it in each child: false when one of those hangs. */
_Bool fork_beside(void (*call)(void));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* For threads that keep simulated time: little work, but at once. */
#ifndef USRBIOD_REALTIME_H
#define USRBIOD_REALTIME_H

/* Lets the calling thread run before others, where the system permits, and wake without slack. */
void realtime_thread(const char *name);

#endif

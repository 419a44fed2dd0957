/* SPDX-License-Identifier: Apache-2.0 */
/* The one clock of this code: CLOCK_MONOTONIC in nanoseconds. */
#ifndef FST3FS_CLOCK_H
#define FST3FS_CLOCK_H

#include <stdint.h>
#include <time.h>

#define FST3FS_NS_PER_S 1000000000ull
#define FST3FS_NS_PER_MS 1000000ull

static inline uint64_t fst3fs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * FST3FS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline struct timespec fst3fs_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / FST3FS_NS_PER_S), .tv_nsec = (long)(ns % FST3FS_NS_PER_S)};
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What tells a process from another one that had its number. */
#ifndef FST3FS_PROCESS_H
#define FST3FS_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* Start time of a process in clock ticks since boot; 0 when there is none, or it cannot be told. */
uint64_t fst3fs_process_start(pid_t pid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A real mount: usrbiod in the foreground, on a directory of its own. */
#ifndef TEST_SERVED_H
#define TEST_SERVED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct served {
	char dir[40];
	char backing[64];
	char path[64]; /* of the mount, with a space and a letter beyond ASCII in it */
	char stats[64];
	pid_t pid;
};

/* Starts $USRBIOD with these options (strings, then NULL), and waits until the mount works. */
__attribute__((sentinel)) void served_start(struct served *s, ...);
/* Starts one again on the same mount point, after served_kill(). */
__attribute__((sentinel)) void served_restart(struct served *s, ...);
/* Kills it outright, as a crash would, and takes the dead mount away. */
void served_kill(struct served *s);
/* Stops all its threads, as a daemon that hangs; returns when they stand. SIGCONT wakes it. */
void served_pause(struct served *s);
/* Asks it to end, which must go well and leave neither mount nor semaphores, and removes everything. */
void served_stop(struct served *s);

/* A number of the daemon's statistics, asked for now: `key` as in the JSON, below `section` unless that is NULL. */
long served_stat(struct served *s, const char *section, const char *key);
/* Waits until the daemon has neither buffers nor rings. */
void served_wait_until_empty(struct served *s);

/* A file of `size` bytes that tell their offset; its path on the mount. */
const char *served_file(struct served *s, const char *name, size_t size);
uint8_t served_byte(uint64_t offset);

/* Sleeps a moment between two looks at something that will come; gives the test up after a minute of them. */
struct patience {
	int looks;
};
void patience(struct patience *p);

#endif

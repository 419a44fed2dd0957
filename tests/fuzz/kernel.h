/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's end of FUSE, played to the file system of a usrbiod that is not mounted: messages go in, and the one
 * answer to each is checked for what the kernel would refuse. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdint.h>
#include <sys/types.h>

#include "usrbiod.h"

struct kernel_user {
	uid_t uid;
	pid_t pid;
};

/* The daemon, all its parts started, on a directory that is removed at exit. Made once. */
struct usrbiod *kernel_daemon(void);
/* Where that directory is. */
const char *kernel_backing(void);

struct kernel_answer {
	int error; /* 0 or a negative errno */
	const uint8_t *data;
	size_t size;
};

/* One operation: opcode and node; then `args`, as linux/fuse.h has them, and `payload` behind. */
struct kernel_answer kernel_ask(struct kernel_user user, uint32_t opcode, uint64_t node, const void *args,
				size_t args_size, const void *payload, size_t payload_size);

/* Opens what is looked up; its handle. */
uint64_t kernel_open(struct kernel_user user, uint32_t opcode, uint64_t node);
/* The node of a name, which must be there. */
uint64_t kernel_lookup(struct kernel_user user, uint64_t parent, const char *name);

#endif

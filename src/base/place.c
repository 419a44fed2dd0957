/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <linux/mempolicy.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORD_BITS (8 * sizeof(unsigned long))

/* Nodes that this process may take memory from. */
static int allowed(unsigned long *nodes)
{
	int n = 0;

	if (syscall(SYS_get_mempolicy, NULL, nodes, (unsigned long)FST3FS_MAX_NODES, NULL, MPOL_F_MEMS_ALLOWED) < 0)
		return 0;
	for (int i = 0; i < FST3FS_MAX_NODES; i++)
		n += (nodes[i / WORD_BITS] >> i % WORD_BITS) & 1;
	return n;
}

void fst3fs_place_here(struct fst3fs_place *place)
{
	unsigned long may[FST3FS_MAX_NODES / WORD_BITS] = {0};
	unsigned node = 0;

	*place = (struct fst3fs_place){.policy = -1};
	if (allowed(may) < 2 ||
	    syscall(SYS_get_mempolicy, &place->policy, place->nodes, (unsigned long)FST3FS_MAX_NODES, NULL, 0ul) < 0)
		return;
	if (place->policy != MPOL_DEFAULT && place->policy != MPOL_LOCAL)
		return;
	place->policy = -1;
	if (syscall(SYS_getcpu, NULL, &node, NULL) < 0 || node >= FST3FS_MAX_NODES ||
	    !((may[node / WORD_BITS] >> node % WORD_BITS) & 1))
		return;
	/* A preference, not an order: a node without room must not end a read. */
	place->policy = MPOL_PREFERRED;
	memset(place->nodes, 0, sizeof(place->nodes));
	place->nodes[node / WORD_BITS] = 1ul << node % WORD_BITS;
}

void fst3fs_place_take(const struct fst3fs_place *place, struct fst3fs_place *before)
{
	if (before)
		*before = (struct fst3fs_place){.policy = -1};
	if (place->policy < 0)
		return;
	if (!before ||
	    syscall(SYS_get_mempolicy, &before->policy, before->nodes, (unsigned long)FST3FS_MAX_NODES, NULL, 0ul) == 0)
		/* The kernel looks at one bit less than it is told. */
		syscall(SYS_set_mempolicy, place->policy, place->nodes, (unsigned long)FST3FS_MAX_NODES + 1);
}

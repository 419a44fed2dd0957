/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_numa.h"

#include <ctype.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* First line of a small file, "" when it cannot be read. */
static void read_line(const char *path, char *line, int size)
{
	FILE *f = fopen(path, "re");

	line[0] = '\0';
	if (!f)
		return;
	if (!fgets(line, size, f))
		line[0] = '\0';
	fclose(f);
}

int fst3fs_cuda_numa_node(const char *sysfs, const char *pci_bus_id)
{
	char path[512], line[64], *end;
	long node;

	snprintf(path, sizeof(path), "%s/devices/system/node/online", sysfs);
	read_line(path, line, sizeof(line));
	if (!strpbrk(line, "-,")) /* "0" on one node, "0-1" or "0,8" on more */
		return -1;
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/numa_node", sysfs, pci_bus_id);
	read_line(path, line, sizeof(line));
	node = strtol(line, &end, 10);
	return end != line && node >= 0 && node < 1024 ? (int)node : -1;
}

/* A preference, not an order: a node without room must not end a read. */
static int prefer_node(void *base, size_t size, int node, unsigned flags)
{
	unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};

	mask[node / (8 * sizeof(mask[0]))] = 1ul << (node % (8 * sizeof(mask[0])));
	/* The kernel looks at one bit less than it is told. */
	if (syscall(SYS_mbind, base, size, MPOL_PREFERRED, mask, 8 * sizeof(mask) + 1, flags) != 0)
		return -errno;
	return 0;
}

int fst3fs_cuda_numa_place(const struct fst3fs_cuda_driver *cu, int ordinal, void *base, size_t size, int *node)
{
	char id[32] = "";
	int device, rc;

	*node = -1;
	if (!cu->device_pci_bus_id || cu->device_get(&device, ordinal) != FST3FS_CU_SUCCESS ||
	    cu->device_pci_bus_id(id, sizeof(id), device) != FST3FS_CU_SUCCESS)
		return 0;
	for (char *c = id; *c; c++) /* sysfs writes it in lower case */
		*c = (char)tolower((unsigned char)*c);
	*node = fst3fs_cuda_numa_node("/sys", id);
	if (*node < 0)
		return 0;
	/* Pages that the daemon has mapped as well move only for the privileged. */
	rc = prefer_node(base, size, *node, MPOL_MF_MOVE_ALL);
	return rc == -EPERM ? prefer_node(base, size, *node, MPOL_MF_MOVE) : rc;
}

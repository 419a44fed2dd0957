/* SPDX-License-Identifier: Apache-2.0 */
/* The staging buffer on the NUMA node that its GPU hangs on, on machines that have several. */
#ifndef FST3FS_CUDA_NUMA_H
#define FST3FS_CUDA_NUMA_H

#include "cuda_driver.h"

/* The node of a PCI device as sysfs tells it under `sysfs` ("/sys"); -1 when there is none to choose: one node only, or
 * a device without one. */
int fst3fs_cuda_numa_node(const char *sysfs, const char *pci_bus_id);

/* Moves what is there of the memory to the GPU's node, and has the rest allocated there. `node` receives which, or -1.
 * 0, also when there was nothing to do; or a negative errno: pages that another process has mapped, or that a network
 * card has locked, stay. */
int fst3fs_cuda_numa_place(const struct fst3fs_cuda_driver *cu, int ordinal, void *base, size_t size, int *node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The official library, libhf3fs_api_shared.so, opened at run time.
 *
 * It is loaded once and for good: it has threads and tables of its own. A library that lacks a function is let go
 * again and refused.
 */
#ifndef FST3FS_SDK_LIB_H
#define FST3FS_SDK_LIB_H

#include "err.h"
#include "hf3fs_usrbio.h"

/* Every function of protocol section 6: one that is missing tells that the library is not what its name says. */
#define FST3FS_SDK_FUNCTIONS(X)                                                                                        \
	X(is_hf3fs)                                                                                                    \
	X(extract_mount_point)                                                                                         \
	X(iovcreate)                                                                                                   \
	X(iovopen)                                                                                                     \
	X(iovunlink)                                                                                                   \
	X(iovdestroy)                                                                                                  \
	X(iovwrap)                                                                                                     \
	X(ior_size)                                                                                                    \
	X(iorcreate)                                                                                                   \
	X(iorcreate2)                                                                                                  \
	X(iorcreate3)                                                                                                  \
	X(iorcreate4)                                                                                                  \
	X(iordestroy)                                                                                                  \
	X(reg_fd)                                                                                                      \
	X(dereg_fd)                                                                                                    \
	X(io_entries)                                                                                                  \
	X(prep_io)                                                                                                     \
	X(submit_ios)                                                                                                  \
	X(wait_for_ios)                                                                                                \
	X(hardlink)                                                                                                    \
	X(punchhole)

#define FST3FS_SDK_MEMBER(name) __typeof__(hf3fs_##name) *name;

struct fst3fs_sdk {
	struct fst3fs_sdk *next;
	char *path;
	FST3FS_SDK_FUNCTIONS(FST3FS_SDK_MEMBER)
};

/* The library at `path`, loaded at the first call for it. 0; -EINVAL no path; -ELIBBAD it does not load, lacks
 * functions, or has rings of another layout than the one that is known here. */
int fst3fs_sdk_load(const char *path, const struct fst3fs_sdk **out, struct fst3fs_error *err);

#endif

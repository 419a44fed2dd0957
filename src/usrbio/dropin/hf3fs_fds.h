/* SPDX-License-Identifier: Apache-2.0 */
/* The registered files, by fd number. The table grows with the highest number in use, in leaves of a few KiB. */
#ifndef HF3FS_FDS_H
#define HF3FS_FDS_H

#include <stdint.h>
#include <sys/types.h>

struct hf3fs_file {
	int fd;
	int dup;    /* our own copy, which keeps the inode open in the kernel */
	int access; /* O_RDONLY, O_WRONLY or O_RDWR */
	uint64_t ino;
	dev_t dev;
};

/* A copy of what is registered under an fd or a handle of hf3fs_reg_fd. 0 or -EBADF. */
int hf3fs_file_find(int fd, struct hf3fs_file *out);

/* Around fork(). */
void hf3fs_fds_lock(void);
void hf3fs_fds_unlock(void);
void hf3fs_fds_unlock_in_child(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that a USRBIO client and the 3FS daemon share: layout only.
 *
 * This is all that the client (src/usrbio) and the stand-in daemon (usrbiod) have in common, on purpose: each
 * derives the rest by itself, so that a mistake in one is caught by the other.
 *
 * Source of the facts: the public 3FS sources, src/fuse/IoRing.h and src/lib/api/hf3fs_usrbio.h. Everything is in
 * the machine's own byte order and LP64; no conversion takes place.
 *
 * A ring's shared-memory object of `size` bytes holds, in this order:
 *
 *     header                       16 bytes, four indices
 *     usrbio_arg args[slots]       requests, written by the client
 *     usrbio_cqe cqes[slots]       completions, written by the daemon
 *     usrbio_sqe sqes[slots]       submission queue, written by the client
 *     sem_t                        completion semaphore, initialised by the daemon, posted by both
 *     (slack)                      up to `size`
 *
 * Both queues have `slots` places and are full with `slots - 1` entries in them.
 */
#ifndef USRBIO_WIRE_H
#define USRBIO_WIRE_H

#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>

/* Indices run from 0 to slots - 1; a queue is empty when head == tail, full when (head + 1) % slots == tail.
 * All four are accessed with sequentially consistent atomics. */
struct usrbio_ring_header {
	int32_t sqe_head; /* client: where the next submission goes */
	int32_t sqe_tail; /* daemon: the oldest submission whose job has not finished */
	int32_t cqe_head; /* daemon: where the next completion goes */
	int32_t cqe_tail; /* client: the oldest completion not yet reaped */
};

/* One request. A slot is free again when its completion has been reaped. */
struct usrbio_arg {
	uint8_t buf_id[16]; /* raw bytes of the buffer's UUID */
	uint64_t buf_off;   /* bytes from the buffer's start */
	uint64_t file_ino;  /* an inode that the kernel references on this mount for as long as the request runs */
	uint64_t file_off;
	uint64_t len;
	uint64_t userdata;
};

struct usrbio_cqe {
	int32_t index; /* of the request's usrbio_arg */
	int32_t reserved;
	int64_t result; /* bytes read, or a negative errno */
	uint64_t userdata;
};

struct usrbio_sqe {
	int32_t index; /* of the request's usrbio_arg */
	int32_t pad;
	uint64_t userdata;
};

_Static_assert(sizeof(struct usrbio_ring_header) == 16, "ring header");
_Static_assert(offsetof(struct usrbio_ring_header, sqe_head) == 0, "sqe_head");
_Static_assert(offsetof(struct usrbio_ring_header, sqe_tail) == 4, "sqe_tail");
_Static_assert(offsetof(struct usrbio_ring_header, cqe_head) == 8, "cqe_head");
_Static_assert(offsetof(struct usrbio_ring_header, cqe_tail) == 12, "cqe_tail");
_Static_assert(sizeof(struct usrbio_arg) == 56, "arg");
_Static_assert(offsetof(struct usrbio_arg, buf_id) == 0, "arg.buf_id");
_Static_assert(offsetof(struct usrbio_arg, buf_off) == 16, "arg.buf_off");
_Static_assert(offsetof(struct usrbio_arg, file_ino) == 24, "arg.file_ino");
_Static_assert(offsetof(struct usrbio_arg, file_off) == 32, "arg.file_off");
_Static_assert(offsetof(struct usrbio_arg, len) == 40, "arg.len");
_Static_assert(offsetof(struct usrbio_arg, userdata) == 48, "arg.userdata");
_Static_assert(sizeof(struct usrbio_cqe) == 24, "cqe");
_Static_assert(offsetof(struct usrbio_cqe, index) == 0, "cqe.index");
_Static_assert(offsetof(struct usrbio_cqe, reserved) == 4, "cqe.reserved");
_Static_assert(offsetof(struct usrbio_cqe, result) == 8, "cqe.result");
_Static_assert(offsetof(struct usrbio_cqe, userdata) == 16, "cqe.userdata");
_Static_assert(sizeof(struct usrbio_sqe) == 16, "sqe");
_Static_assert(offsetof(struct usrbio_sqe, index) == 0, "sqe.index");
_Static_assert(offsetof(struct usrbio_sqe, userdata) == 8, "sqe.userdata");
_Static_assert(sizeof(sem_t) == 32 && _Alignof(sem_t) == 8, "glibc's 64-bit sem_t is part of the protocol");
_Static_assert(__atomic_always_lock_free(sizeof(int32_t), 0) && __atomic_always_lock_free(sizeof(uint64_t), 0),
	       "a lock would be one process's own");
_Static_assert(_Alignof(struct usrbio_ring_header) == 4 && _Alignof(struct usrbio_arg) == 8 &&
		       _Alignof(struct usrbio_cqe) == 8 && _Alignof(struct usrbio_sqe) == 8,
	       "what is atomic must not lie across two words");
_Static_assert(sizeof(struct usrbio_ring_header) % 8 == 0 && sizeof(struct usrbio_arg) % 8 == 0 &&
		       sizeof(struct usrbio_cqe) % 8 == 0,
	       "each part is aligned behind any number of slots");

enum {
	USRBIO_SLOT_BYTES = sizeof(struct usrbio_arg) + sizeof(struct usrbio_cqe) + sizeof(struct usrbio_sqe),
	USRBIO_RING_SLACK = 4096,
	USRBIO_RING_FIXED = sizeof(struct usrbio_ring_header) + sizeof(sem_t) + USRBIO_RING_SLACK,
};
_Static_assert(USRBIO_SLOT_BYTES == 96, "bytes for each slot");
_Static_assert((sizeof(struct usrbio_ring_header) + USRBIO_SLOT_BYTES) % _Alignof(sem_t) == 0 &&
		       USRBIO_SLOT_BYTES % _Alignof(sem_t) == 0,
	       "the semaphore is aligned behind any number of slots");

/* Flags of a ring, written in binary digits after `.f` in its key. */
enum {
	USRBIO_RING_ALLOW_UNCOMMITTED = 1,
	USRBIO_RING_HOLE_IS_ERROR = 2,
};

/* File system type in mountinfo, the virtual directory, and the answer of the "is this 3FS?" ioctl. */
#define USRBIO_FSTYPE "fuse.hf3fs"
#define USRBIO_VIRT_DIR "3fs-virt"
#define USRBIO_IOVS_DIR USRBIO_VIRT_DIR "/iovs"
#define USRBIO_MAGIC 0x8f3f5fffu

#define USRBIO_IOC_MOUNT_NAME _IOR('h', 0, char[32])
#define USRBIO_IOC_MOUNT_PATH_LEN _IOR('h', 1, uint32_t)
#define USRBIO_IOC_MAGIC _IOR('h', 2, uint32_t)
#define USRBIO_IOC_VERSION _IOR('h', 3, uint32_t)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USRBIO: reading and writing files on 3FS through memory shared with its daemon.
 *
 * The C interface of libhf3fs_api_shared.so, declared independently for the library of that name that is built here.
 * Programs written for the official library compile with this header and run with either.
 *
 *   1. make a ring and a buffer       hf3fs_iorcreate*, hf3fs_iovcreate
 *   2. register the file              hf3fs_reg_fd
 *   3. queue requests, send them off  hf3fs_prep_io, hf3fs_submit_ios
 *   4. wait                           hf3fs_wait_for_ios
 *   5. take it down                   hf3fs_dereg_fd, hf3fs_iovdestroy, hf3fs_iordestroy
 *
 * Functions return 0 (or a count) or a negative errno unless they say otherwise. None prints or ends the process; calls
 * that register or deregister wait for the daemon a minute at most (-ETIMEDOUT).
 *
 * Names. An object in /dev/shm is called hf3fs-iov-<uuid>. The UUIDs made here are of version 8 and tell their owner:
 * 22 bits of process id, 36 of that process's start time in clock ticks since boot, 24 of the inode number of its pid
 * namespace, and 40 random bits, from the highest bit down, around the UUID's own version and variant bits. With that,
 * whoever next makes a buffer or a ring takes away what killed processes of the same pid namespace left, and nothing
 * else.
 *
 * fork(): a child shares the parent's buffers and rings, which must then be used by one of the two, and can make its
 * own. What the parent registered ends with the parent. Destroying inherited ones in a child leaves the parent's
 * intact.
 */
#ifndef HF3FS_USRBIO_H
#define HF3FS_USRBIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define HF3FS_SUPER_MAGIC 0x8f3f5fff

/** Flags of hf3fs_iorcreate4. */
#define HF3FS_IOR_ALLOW_READ_UNCOMMITTED 1 /**< Read what a writer has not committed yet. */
#define HF3FS_IOR_FORBID_READ_HOLES 2	   /**< A hole in a file is an error, not zeros. */

/** A buffer. The caller owns the structure; its contents are set by hf3fs_iovcreate, _iovopen or _iovwrap. */
struct hf3fs_iov {
	uint8_t *base;
	void *iovh; /**< The library's; NULL for a wrapped buffer. */
	char id[16];
	char mount_point[256];
	size_t size;
	size_t block_size; /**< No request crosses a multiple of it; 0 = no such limit. */
	int numa;
};

/** A ring of requests. The caller owns the structure; its contents are set by hf3fs_iorcreate*. */
struct hf3fs_ior {
	struct hf3fs_iov iov; /**< The ring's own memory. */
	void *iorh;	      /**< The library's. */
	char mount_point[256];
	bool for_read;
	int io_depth;
	int priority;
	int timeout;
	uint64_t flags;
};

/** A completed request. */
struct hf3fs_cqe {
	int32_t index; /**< What hf3fs_prep_io returned. */
	int32_t reserved;
	int64_t result; /**< Bytes, or a negative errno. */
	const void *userdata;
};

/** Is the file of @p fd on 3FS? */
bool hf3fs_is_hf3fs(int fd);

/**
 * The mount point of the 3FS that @p path is on.
 *
 * @return its length + 1, and the string in @p buf when that fits into @p size; -1 when the path is on no 3FS.
 */
int hf3fs_extract_mount_point(char *buf, int size, const char *path);

/**
 * Makes shared memory of @p size bytes, all of it reserved, and registers it. Undone by: hf3fs_iovdestroy().
 *
 * @param block_size  The daemon registers memory in blocks of so many bytes; 0 = in one.
 * @param numa        Node that the memory should come from, negative = any.
 */
int hf3fs_iovcreate(struct hf3fs_iov *iov, const char *mount, size_t size, size_t block_size, int numa);

/**
 * Maps the registered buffer @p id that another process made and whose name is still there. @p block_size must be its
 * maker's. Undone by: hf3fs_iovdestroy(), which leaves the maker's intact.
 */
int hf3fs_iovopen(struct hf3fs_iov *iov, const uint8_t id[16], const char *mount, size_t size, size_t block_size,
		  int numa);

/** Takes away the name that hf3fs_iovopen() needs. What is mapped and registered stays. */
void hf3fs_iovunlink(struct hf3fs_iov *iov);

/** Deregisters and unmaps a buffer of hf3fs_iovcreate(), unmaps one of hf3fs_iovopen(), ignores a wrapped one. */
void hf3fs_iovdestroy(struct hf3fs_iov *iov);

/** Describes memory that the caller mapped and registered under @p id, for use in hf3fs_prep_io(). */
int hf3fs_iovwrap(struct hf3fs_iov *iov, void *base, const uint8_t id[16], const char *mount, size_t size,
		  size_t block_size, int numa);

/** Bytes of memory that a ring for @p entries requests takes; 0 when there can be none of that many. */
size_t hf3fs_ior_size(int entries);

/**
 * Makes a ring for up to @p entries requests. Undone by: hf3fs_iordestroy().
 *
 * @param for_read  A ring is for reads or for writes.
 * @param io_depth  > 0: the daemon takes requests in batches of exactly so many, and waits for more while there are
 *                  fewer; 0: all that are queued; < 0: at most -io_depth at a time.
 * @param priority  < 0 high, 0 normal, > 0 low.
 * @param timeout   How long, in milliseconds, a batch may wait to become full with io_depth < 0.
 * @param flags     HF3FS_IOR_*.
 */
int hf3fs_iorcreate(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int numa);
int hf3fs_iorcreate2(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int priority,
		     int numa);
int hf3fs_iorcreate3(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int priority,
		     int timeout, int numa);
int hf3fs_iorcreate4(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read, int io_depth, int timeout,
		     int numa, uint64_t flags);

/** Deregisters and unmaps a ring. What is in flight still lands in its buffer. */
void hf3fs_iordestroy(struct hf3fs_ior *ior);

/**
 * Makes the open file @p fd known to hf3fs_prep_io(). Undone by: hf3fs_dereg_fd(), before @p fd is closed.
 *
 * @return <= 0 on success: a handle that hf3fs_prep_io() takes as well as @p fd. A POSITIVE errno on failure: EBADF not
 *         on 3FS, EINVAL registered already.
 */
int hf3fs_reg_fd(int fd, uint64_t flags);
void hf3fs_dereg_fd(int fd);

/** How many requests the ring has room for. */
int hf3fs_io_entries(const struct hf3fs_ior *ior);

/**
 * Queues one request: @p len bytes at @p off of the file, from or to @p ptr in @p iov. One thread at a time for each
 * ring. The daemon may begin at once.
 *
 * @return the request's index; -EAGAIN the ring is full: take results, then try again; -EBADF the fd is not registered,
 *         or not on the ring's mount; -EACCES it is not open for that; -EINVAL a range, or a ring of the other kind;
 *         -EPROTO the daemon wrote nonsense into the ring.
 */
int hf3fs_prep_io(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, bool read, void *ptr, int fd, size_t off,
		  uint64_t len, const void *userdata);

/** Wakes the daemon for what was queued. On the thread that queues. */
int hf3fs_submit_ios(const struct hf3fs_ior *ior);

/**
 * Takes up to @p cqec results, and sleeps until there are @p min_results of them or until @p abs_timeout
 * (CLOCK_REALTIME; NULL = for ever). One thread at a time for each ring.
 *
 * @return how many, fewer than @p min_results after the time-out; or -EINVAL, or -EPROTO: the daemon wrote nonsense
 * into the ring.
 */
int hf3fs_wait_for_ios(const struct hf3fs_ior *ior, struct hf3fs_cqe *cqes, int cqec, int min_results,
		       const struct timespec *abs_timeout);

/** Gives the file @p target a second name. @return 0, or a POSITIVE errno. */
int hf3fs_hardlink(const char *target, const char *link_name);

/** Takes the bytes start[i] .. end[i] out of the file, for up to 1000 ranges. @return 0, or a POSITIVE errno. */
int hf3fs_punchhole(int fd, int n, const size_t *start, const size_t *end, size_t flags);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif

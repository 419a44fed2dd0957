/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fst3fs: bytes of files on 3FS into host or GPU memory, at the speed of the link.
 *
 * The lesson, from simple to advanced:
 *
 *   1. Read one range of a file        fst3fs_open, fst3fs_read, fst3fs_close
 *   2. Know what went wrong            struct fst3fs_error
 *   3. Read many ranges at once        fst3fs_read_many
 *   4. Read safetensors headers        fst3fs_read_headers
 *   5. Read without a copy             fst3fs_alloc, or an address inside the reader's own buffer
 *   6. Know what is in use and done    fst3fs_get_info, fst3fs_get_stats
 *   7. Read in the background          fst3fs_start_many, fst3fs_batch_wait, fst3fs_batch_finish
 *   8. Tensors by name                 fst3fs_checkpoint_open, fst3fs_checkpoint_find, fst3fs_read_tensors
 *   9. Tensors as they come            fst3fs_stream_open, fst3fs_stream_give, fst3fs_stream_next
 *  10. The same for many processes     fst3fs_share_open, fst3fs_share_requests, fst3fs_share_copies
 *
 * Conventions. Functions return 0 (or a count) on success and a negative errno on failure. Sizes, offsets and lengths
 * are in bytes. Handles are opaque; what this header does not show may change. A `struct` that a caller fills begins
 * with its own size, so that it can grow. Every function of a reader may be called from any thread at any time,
 * except fst3fs_close, which must be the last. After fork() a reader belongs to the parent: in the child every call
 * returns -ECHILD, and fst3fs_close only gives back memory.
 *
 * No function of this library writes to stdout or stderr, changes signal handling, or ends the process.
 */
#ifndef FST3FS_H
#define FST3FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FST3FS_API __attribute__((visibility("default")))

/** The version of the library in use, for example "0.4.0". Static storage. */
FST3FS_API const char *fst3fs_version(void);

/* ------------------------------------------------------------------ 2. errors (used by everything below) */

/** What kind of fault an error is; a language binding turns it into a class of exception. */
enum fst3fs_error_kind {
	FST3FS_ERROR_SYSTEM = 0, /**< The operating system, 3FS or its daemon said so; `code` is the errno. */
	FST3FS_ERROR_VALUE,	 /**< An argument, or a file's contents, is not acceptable. */
	FST3FS_ERROR_DEVICE,	 /**< A GPU driver call failed; `text` names the call and the driver's error. */
	FST3FS_ERROR_STATE,	 /**< The reader cannot be used here (for example in a child after fork). */
};

/**
 * Details of a failure. Owned by the caller, who need not initialise it; a call that fails fills it, one that
 * succeeds leaves it in an unspecified state. Every parameter of this type may be NULL.
 */
struct fst3fs_error {
	int code;	/**< Negative errno, the same value that the function returned. */
	int kind;	/**< enum fst3fs_error_kind. */
	int64_t index;	/**< Which request or path of a batch failed (from 0), -1 when the call has none. */
	int64_t offset; /**< File offset of the fault, -1 when there is none. */
	int rule;	/**< The rule that a file's contents break, by its number in docs/safetensors-rules.md; or 0. */
	char path[4096]; /**< The file at fault, "" when there is none. */
	char text[768];	 /**< What was wrong, one line, without the path. */
};

/* ------------------------------------------------------------------ 1. a reader */

struct fst3fs_reader;

/** Severity of a log line. */
enum fst3fs_log_level { FST3FS_LOG_DEBUG = 10, FST3FS_LOG_INFO = 20, FST3FS_LOG_WARNING = 30 };

/** Receives one log line, without a newline. Called only on threads that are inside a call of this library. */
typedef void (*fst3fs_log_fn)(void *ctx, int level, const char *line);

/** Which USRBIO client to use. */
enum fst3fs_usrbio {
	FST3FS_USRBIO_BUILTIN = 0, /**< The one in this library. */
	FST3FS_USRBIO_SDK,	   /**< The official shared library at `sdk_path`. */
};

/** Settings of a reader. Fill it with fst3fs_options_init, then change what you need. */
struct fst3fs_options {
	size_t size;		 /**< sizeof(struct fst3fs_options). */
	const char *mount_point; /**< 3FS mount point; NULL or "" reads everything through the operating system. */
	int entries;		 /**< Upper bound of requests in flight, >= 1. Default 64. */
	int io_depth;		 /**< A hint, kept for compatibility; no value changes what is delivered. Default 0. */
	uint64_t buffer_size;	 /**< All the staging memory the reader takes. Default 64 MiB. */
	uint32_t timeout_ms;	 /**< How long a read may go without any completion. Default 90,000. */
	int usrbio;		 /**< enum fst3fs_usrbio. */
	const char *sdk_path;	 /**< Path of libhf3fs_api_shared.so, for FST3FS_USRBIO_SDK. */
	bool require_usrbio;	 /**< Fail rather than read through the operating system. */
	const char *trace;	 /**< A file to write a trace for Perfetto to; NULL or "" = none. "%p" = the process. */
	bool populate;		 /**< Make host memory resident ahead of the bytes. Default true. */
	fst3fs_log_fn log;	 /**< May be NULL. */
	void *log_ctx;
	int log_level; /**< Lines below this level are not produced. Default FST3FS_LOG_INFO. */
	/**
	 * Asked about every 100 ms while a call waits, on the thread of that call: return non-zero to have the call
	 * end with -EINTR as soon as it is safe. May be NULL.
	 */
	int (*interrupted)(void *ctx);
	void *interrupted_ctx;
};

/** Fills @p o with the defaults and its size. */
FST3FS_API void fst3fs_options_init(struct fst3fs_options *o);

/**
 * Makes a reader. Strings are copied. Undone by: fst3fs_close().
 *
 * With a mount point on 3FS it registers its buffer with the daemon, or fails. With one that is not on 3FS it reads
 * through the operating system and says so in the log, unless `require_usrbio` is set.
 *
 * @param out  Receives the reader; untouched on failure.
 * @return 0; -EINVAL bad setting; -ENOENT no such mount point; -ENOSPC /dev/shm is too small for the buffer;
 *         -ENOTSUP `require_usrbio` and the mount point is not 3FS; or another negative errno.
 */
FST3FS_API int fst3fs_open(const struct fst3fs_options *o, struct fst3fs_reader **out, struct fst3fs_error *err);

/** What kind of reading is wanted; flags of fst3fs_read and fst3fs_read_many. */
enum fst3fs_read_flags {
	FST3FS_READ_IN_TURN = 1, /**< Read a bufferful, then copy it, in turn, instead of overlapping the two. */
};

/**
 * Reads @p length bytes at @p offset of @p path to address @p dst.
 *
 * @param dst         Host memory, memory of a GPU in this process, memory of fst3fs_alloc, an address inside the
 * reader's own buffer, or 0 = deliver nowhere. Trusted: it must be valid for @p length bytes until the call returns.
 * Inside the reader's own buffer the call has the whole buffer to itself, and the bytes are valid until the reader's
 * next read.
 * @param chunk_size  Upper bound of one request, 0 = the reader chooses.
 * @param flags       enum fst3fs_read_flags.
 * @return bytes delivered, fewer than @p length only at the end of the file; or a negative errno:
 *         -EINVAL bad argument; -ENOENT, -EACCES, ... from opening the file; -EIO a short read inside the file;
 *         -ETIMEDOUT no completion within the reader's time-out; -ENOTCONN the daemon is gone; -EINTR interrupted;
 *         -ECHILD used after fork; -EDEADLK called from `interrupted` during a read of the same reader; or what the
 *         daemon answered (-EREMOTEIO, -ENODATA, ...).
 *
 * When it returns nothing is in flight into @p dst, whatever the result. The file stays open in the reader.
 */
FST3FS_API int64_t fst3fs_read(struct fst3fs_reader *r, const char *path, uint64_t dst, int64_t offset, int64_t length,
			       int64_t chunk_size, unsigned flags, struct fst3fs_error *err);

/** Is @p path open in the reader, left so by an earlier read? */
FST3FS_API bool fst3fs_has_file(struct fst3fs_reader *r, const char *path);

/** Gives back everything the reader holds (files, buffer, registrations). The next call takes what it needs again.
 *  Waits for calls in progress on other threads; if it is interrupted meanwhile, nothing is given back. Called from
 *  `interrupted` during a read, it takes effect when that read has ended. */
FST3FS_API void fst3fs_release(struct fst3fs_reader *r);

/** Ends a reader. NULL is fine. Memory of fst3fs_alloc stays valid until it is freed. */
FST3FS_API void fst3fs_close(struct fst3fs_reader *r);

/* ------------------------------------------------------------------ 3. many ranges */

/** One range of fst3fs_read_many. */
struct fst3fs_request {
	const char *path;
	uint64_t dst; /**< As in fst3fs_read. An address inside the reader's own buffer is not allowed here. */
	int64_t offset;
	int64_t length;
	int64_t result; /**< Out: bytes delivered, or a negative errno. */
};

/**
 * Reads @p n ranges; the window of requests stays full across their borders, and files are opened ahead.
 *
 * @return 0 when every range was delivered; otherwise the error of the first failing range in the order of the array,
 *         its index in err->index. Every range has its own `result`; one that fails does not stop the others.
 */
FST3FS_API int fst3fs_read_many(struct fst3fs_reader *r, struct fst3fs_request *requests, size_t n, int64_t chunk_size,
				unsigned flags, struct fst3fs_error *err);

/* ------------------------------------------------------------------ 4. safetensors headers */

/** The header of one safetensors file. */
struct fst3fs_header {
	char *json;	 /**< UTF-8, NUL-terminated, as it stands in the file. NULL when this file failed. */
	uint64_t length; /**< 8 + bytes of `json`: the file offset at which tensor data begins. */
	uint64_t file_size;
	uint64_t inode; /**< Of the file that it was read from. */
};

/**
 * Reads the headers of @p n files, at least @p num_threads at a time, with one open and one read per file.
 *
 * The files stay open in the reader. On failure those already opened stay usable.
 *
 * @param out  @p n entries, filled in the order of @p paths. Undone by: fst3fs_headers_free(), also after a failure.
 * @return 0, or the error of the first failing file in the order of @p paths, its index in err->index:
 *         -EINVAL (FST3FS_ERROR_VALUE) not a safetensors header; or what the operating system said.
 */
FST3FS_API int fst3fs_read_headers(struct fst3fs_reader *r, const char *const *paths, size_t n, int num_threads,
				   struct fst3fs_header *out, struct fst3fs_error *err);
FST3FS_API void fst3fs_headers_free(struct fst3fs_header *headers, size_t n);

/* ------------------------------------------------------------------ 5. without a copy */

struct fst3fs_memory;

/**
 * Page-aligned host memory that reads of this reader reach without a copy where the transport can.
 *
 * @return 0; -EINVAL bad size; -ENOSPC /dev/shm is too small; -ENOMEM; or another negative errno.
 * Undone by: fst3fs_memory_free(), also after the reader was closed.
 */
FST3FS_API int fst3fs_alloc(struct fst3fs_reader *r, uint64_t size, struct fst3fs_memory **out,
			    struct fst3fs_error *err);
/**
 * Private memory of this process for reads to go to: page-aligned, zeroed, in huge pages where the kernel has them. It
 * belongs to no reader. Its pages come when they are first written; a read into it sees to that ahead of the bytes.
 *
 * @return 0; -EINVAL bad size; or -ENOMEM.
 * Undone by: fst3fs_memory_free(), in a child after fork too, for the child.
 */
FST3FS_API int fst3fs_alloc_host(uint64_t size, struct fst3fs_memory **out, struct fst3fs_error *err);
FST3FS_API void *fst3fs_memory_address(const struct fst3fs_memory *m);
FST3FS_API uint64_t fst3fs_memory_size(const struct fst3fs_memory *m);
/** NULL is fine. No read into the memory may be in progress. */
FST3FS_API void fst3fs_memory_free(struct fst3fs_memory *m);

/* ------------------------------------------------------------------ 6. what is in use */

/** What a reader uses, and what it has done so far. */
struct fst3fs_info {
	size_t size;	    /**< In: sizeof(struct fst3fs_info). */
	char transport[16]; /**< "usrbio", "sdk" or "posix": how files of the mount are read. */
	char client[4096];  /**< "built-in", the official library's path, or "" (posix). */
	char why_not[768];  /**< Why nothing better is used, "" when nothing better exists. */
	char devices[256];  /**< Devices that reads have gone to so far, comma-separated: "host", "cuda:0", ... */
	int page_locked;    /**< 1 yes, 0 no, -1 nobody has asked for it yet. */
	void *iov_base;	    /**< The reader's own buffer; NULL when none exists now. */
	uint64_t iov_length;
	uint64_t buffer_size; /**< As asked for. */
	uint64_t piece_size;  /**< Size of one request when the caller sets no bound. */
	uint32_t window;      /**< Requests in flight at most. */
	uint32_t open_files;
	uint64_t reads;		 /**< Ranges delivered. */
	uint64_t requests;	 /**< Requests to the transport. */
	uint64_t bytes;		 /**< Delivered. */
	uint64_t bytes_posix;	 /**< Of these, read through the operating system. */
	uint64_t bytes_direct;	 /**< Of these, delivered without a copy. */
	uint64_t io_wait_ns;	 /**< Time that reads waited with nothing landed. */
	uint64_t copy_wait_ns;	 /**< Time that reads waited for copies alone. */
	uint64_t populated;	 /**< Bytes of host memory that were made resident ahead of what was read into them. */
	uint64_t populated_huge; /**< Of these, in huge pages. */
	uint64_t iov_huge;	 /**< Bytes of the reader's own buffer that are in huge pages. */
	uint64_t alloc_length;	 /**< Memory of fst3fs_alloc that there is now. */
	uint64_t alloc_huge;	 /**< Of it, in huge pages. */
	uint64_t given_up;	 /**< Times that buffer and ring were given up whole. */
};

/** Fills @p info. Never blocks on the mount. @return 0, or -EINVAL for an unknown size. */
FST3FS_API int fst3fs_get_info(struct fst3fs_reader *r, struct fst3fs_info *info);

/**
 * The 3FS mount point of @p path.
 *
 * @return 1 and the mount point in @p buf; 0 and "" when the path is on none; -ERANGE when @p size is too small; or
 *         another negative errno.
 */
FST3FS_API int fst3fs_mount_point(const char *path, char *buf, size_t size);

/** Buckets of latencies: number i counts those of up to 2^i microseconds, the last all others. */
#define FST3FS_LATENCY_BUCKETS 28

/**
 * What a reader has counted since it was made. All of it only grows, but for `in_flight` and `in_flight_max`: the
 * difference of two is what happened between them. Average in flight is in_flight_ns / flight_ns.
 */
struct fst3fs_stats {
	size_t size;	       /**< In: sizeof(struct fst3fs_stats). */
	uint64_t now_ns;       /**< CLOCK_MONOTONIC at this moment. */
	uint64_t reads;	       /**< Ranges delivered. */
	uint64_t requests;     /**< Requests to the transport. */
	uint64_t bytes;	       /**< Delivered. */
	uint64_t bytes_posix;  /**< Of these, read through the operating system. */
	uint64_t bytes_direct; /**< Of these, delivered without a copy. */
	uint64_t in_flight;    /**< Requests now. */
	uint64_t in_flight_max;
	uint64_t in_flight_ns;	   /**< Sum over time of requests in flight. */
	uint64_t flight_ns;	   /**< Time in which there was any. */
	uint64_t io_wait_ns;	   /**< Time that reads waited with nothing landed. */
	uint64_t copy_wait_ns;	   /**< ... for copies alone. */
	uint64_t slot_wait_ns;	   /**< Of these two, with more to request and every slot taken by copies. */
	uint64_t consumer_wait_ns; /**< Time that streams had nothing to read because no tensor was taken. */
	uint64_t given_up;	   /**< Times that buffer and ring were given up whole. */
	uint64_t fallbacks;	   /**< Ranges read through the operating system by a reader of a 3FS mount. */
	uint64_t latency_ns; /**< Sum of the requests' latencies, from being queued until they were seen to land. */
	uint64_t latency[FST3FS_LATENCY_BUCKETS];
};

/** Fills @p stats. Never blocks on the mount. @return 0, or -EINVAL for an unknown size, -ECHILD after fork. */
FST3FS_API int fst3fs_get_stats(struct fst3fs_reader *r, struct fst3fs_stats *stats);

/* ------------------------------------------------------------------ 7. in the background */

/** Ranges that a thread of the library reads while the caller does something else. */
struct fst3fs_batch;

/**
 * Starts reading @p n ranges and returns. They are read in the order of files and offsets, in which neighbours, and
 * those with a small gap between them, share requests; destinations may be as many as there are ranges.
 *
 * @param requests    As in fst3fs_read_many, all of them to one device; copied, `result` is not touched. The
 * destinations must stay valid until the batch has ended.
 * @param chunk_size  Upper bound of one request, 0 = the reader chooses.
 * @param out         Receives the batch; untouched on failure. Undone by: fst3fs_batch_finish() or
 * fst3fs_batch_cancel().
 * @return 0; -EINVAL bad argument, its index in err->index; -ENOMEM; -ECHILD; -EDEADLK.
 *
 * A batch keeps its reader's resources alive, but end it before fst3fs_close. Callbacks of the reader are called by
 * none of its threads: `interrupted` is asked by those who wait.
 */
FST3FS_API int fst3fs_start_many(struct fst3fs_reader *r, const struct fst3fs_request *requests, size_t n,
				 int64_t chunk_size, struct fst3fs_batch **out, struct fst3fs_error *err);

/**
 * Waits until range @p i is there, whatever the others do. Any number of threads may wait, any number of times.
 *
 * @return bytes delivered, fewer than asked for only at the end of the file; -EINTR the reader's callback said so, and
 *         the batch goes on; or the range's error, as in fst3fs_read.
 */
FST3FS_API int64_t fst3fs_batch_wait(struct fst3fs_batch *b, size_t i, struct fst3fs_error *err);

/** Would fst3fs_batch_wait() of range @p i return at once? */
FST3FS_API bool fst3fs_batch_is_ready(struct fst3fs_batch *b, size_t i);

/**
 * Waits for every range and frees the batch, which nobody else may be using. When it returns nothing is in flight.
 *
 * @return 0; the error of a range that failed; or -EINTR, and then the rest was cancelled.
 */
FST3FS_API int fst3fs_batch_finish(struct fst3fs_batch *b, struct fst3fs_error *err);

/** Ends it at once: what is in flight comes back or is given up, nothing more is requested, and the batch is freed.
 *  NULL is fine. */
FST3FS_API void fst3fs_batch_cancel(struct fst3fs_batch *b);

/* ------------------------------------------------------------------ 8. tensors by name */

/** The tensors of one safetensors file or of many. It never changes, and may be used from any thread. */
struct fst3fs_checkpoint;

/** What a header says of a tensor. Everything that it points to belongs to the checkpoint. */
struct fst3fs_tensor {
	const char *name;  /**< UTF-8. */
	const char *dtype; /**< As headers spell it, "BF16" for example. */
	unsigned bits;	   /**< Of one element: 4, 6, 8, 16, 32 or 64. */
	unsigned rank;
	const uint64_t *shape; /**< `rank` of them, outermost first. */
	size_t file;	       /**< In fst3fs_checkpoint_file(). */
	uint64_t offset;       /**< Of its first byte in the file. */
	uint64_t length;       /**< Bytes. */
};

/**
 * Reads and checks the headers of a checkpoint.
 *
 * @param paths  One: a directory (what its model.safetensors.index.json names, without one all of its *.safetensors in
 * the order of their names), such an index, or a file. Or several files.
 * @param out    Receives the checkpoint; untouched on failure. Undone by: fst3fs_checkpoint_free().
 * @return 0; -EINVAL (FST3FS_ERROR_VALUE) a broken header or index (err->rule, err->offset), an index that names a
 *         tensor which its file has not, one name in two files, or a directory without safetensors files; or what the
 *         operating system said. err->path is the file.
 */
FST3FS_API int fst3fs_checkpoint_open(struct fst3fs_reader *r, const char *const *paths, size_t n,
				      struct fst3fs_checkpoint **out, struct fst3fs_error *err);
/** NULL is fine. */
FST3FS_API void fst3fs_checkpoint_free(struct fst3fs_checkpoint *c);

FST3FS_API size_t fst3fs_checkpoint_count(const struct fst3fs_checkpoint *c);
/** Fills @p out with tensor number @p i: in the order of files, and in each of offsets. -EINVAL: there is none. */
FST3FS_API int fst3fs_checkpoint_tensor(const struct fst3fs_checkpoint *c, size_t i, struct fst3fs_tensor *out);
/** The number of the tensor of that name, or -ENOENT. */
FST3FS_API int64_t fst3fs_checkpoint_find(const struct fst3fs_checkpoint *c, const char *name);
FST3FS_API size_t fst3fs_checkpoint_file_count(const struct fst3fs_checkpoint *c);
/** The path of file number @p i, NULL when there is none. */
FST3FS_API const char *fst3fs_checkpoint_file(const struct fst3fs_checkpoint *c, size_t i);
/** Entry number @p i of the `__metadata__` of a file, in its order: 0; or -ENOENT, there are no more. Both strings are
 *  UTF-8, end with a NUL and may hold others. */
FST3FS_API int fst3fs_checkpoint_metadata(const struct fst3fs_checkpoint *c, size_t file, size_t i, const char **key,
					  size_t *key_bytes, const char **value, size_t *value_bytes);

/**
 * Reads @p n tensors, each to an address of its own and all of them to one device, as one piece of work.
 *
 * @param which  Their numbers, each at most once.
 * @param dst    Where each of them goes; 0 = nowhere. Valid until the call returns.
 * @return 0 when all of them were delivered; otherwise as fst3fs_read. A file that has become shorter than its header
 *         says is -EINVAL (FST3FS_ERROR_VALUE).
 */
FST3FS_API int fst3fs_read_tensors(struct fst3fs_reader *r, const struct fst3fs_checkpoint *c, const size_t *which,
				   const uint64_t *dst, size_t n, struct fst3fs_error *err);

/* ------------------------------------------------------------------ 9. tensors as they come */

/** Tensors in the order of their bytes, each as soon as it is complete, while those behind it are being read. */
struct fst3fs_stream;

/** Settings of a stream. Fill it with fst3fs_stream_options_init, then change what you need. */
struct fst3fs_stream_options {
	size_t size;	/**< sizeof(struct fst3fs_stream_options). */
	uint64_t ahead; /**< Bytes of tensors that may be under way or waiting to be taken. Default 512 MiB; used when
			   less (128 MiB at first) has left nothing to read. */
};

FST3FS_API void fst3fs_stream_options_init(struct fst3fs_stream_options *o);

/**
 * Begins to stream @p n tensors of a checkpoint, which must outlive the stream.
 *
 * @param which  Their numbers, each at most once, in any order; NULL = all (@p n is not looked at).
 * @param o      NULL = the defaults.
 * @param out    Receives the stream; untouched on failure. Undone by: fst3fs_stream_close().
 *
 * Threads: one at a time. The loop of a user:
 *
 *     while (fst3fs_stream_wants(s, &i))
 *             fst3fs_stream_give(s, address_for(i), &err);
 *     rc = fst3fs_stream_next(s, &i, &err);      // 1: tensor i is there; 0: that was all
 */
FST3FS_API int fst3fs_stream_open(struct fst3fs_reader *r, const struct fst3fs_checkpoint *c, const size_t *which,
				  size_t n, const struct fst3fs_stream_options *o, struct fst3fs_stream **out,
				  struct fst3fs_error *err);

/**
 * Does the stream want an address now? Then @p tensor is the number of the tensor it is for. It wants one as long as
 * that keeps it within what it looks ahead, 128 MiB at first and up to `ahead` as tensors were not taken in time, and
 * whenever the next tensor cannot be completed without: neighbours share requests, of which 64 MiB at most are planned
 * together, so that it may exceed that, and `ahead`, by as much and one tensor.
 */
FST3FS_API bool fst3fs_stream_wants(struct fst3fs_stream *s, size_t *tensor);
/**
 * Gives the address that was wanted: memory as in fst3fs_read, of the tensor's length, all of a stream's on one device;
 * valid until the tensor was taken with fst3fs_stream_next(), or the stream was closed. 0 = nowhere.
 */
FST3FS_API int fst3fs_stream_give(struct fst3fs_stream *s, uint64_t dst, struct fst3fs_error *err);
/**
 * Waits for the next tensor.
 *
 * @return 1 and its number in @p tensor: its bytes are there, and the stream has no more to do with its memory;
 *         0 that was all; -EINVAL its address has not been given; or the error that ends the stream, as in fst3fs_read:
 *         tensors taken before stay valid, and all that can be done is to close it. -EINTR does not end it.
 */
FST3FS_API int fst3fs_stream_next(struct fst3fs_stream *s, size_t *tensor, struct fst3fs_error *err);

/** What a stream does, and what it waits for. */
struct fst3fs_stream_info {
	size_t size;	    /**< In: sizeof(struct fst3fs_stream_info). */
	uint64_t wanted;    /**< Bytes of the tensors. */
	uint64_t requested; /**< Bytes to be read for them: small gaps between them as well. */
	uint64_t taken;	    /**< Bytes of tensors taken so far. */
	uint64_t wait_ns;   /**< Time in which the caller waited for tensors. */
	uint64_t idle_ns;   /**< Time in which the stream had nothing to read, because no tensor was taken. */
};

/** Fills @p info. @return 0, or -EINVAL for an unknown size. */
FST3FS_API int fst3fs_stream_get_info(struct fst3fs_stream *s, struct fst3fs_stream_info *info);

/** Ends a stream at once, wherever it is. When it returns nothing is in flight. NULL is fine. */
FST3FS_API void fst3fs_stream_close(struct fst3fs_stream *s);

/* ------------------------------------------------------------------ 10. the same tensors for many processes */

/**
 * A division of the bytes of tensors among processes ("ranks") that all want all of them: each reads its part, and what
 * the others have read they send each other, with NCCL for instance. Arithmetic alone: it reads nothing.
 *
 * The bytes, laid end to end in the order of files and offsets with small gaps between tensors, are cut into windows.
 * In each window rank r reads slice r. Once a window is whole in a buffer, copies take its tensors out.
 */
struct fst3fs_share;

/**
 * @param c       Must outlive the share.
 * @param which   Numbers of tensors as in fst3fs_stream_open; the same on every rank. NULL = all.
 * @param window  Bytes of a window at most; a whole number of slices for each rank is made of it.
 * @param align   Slices are multiples of it.
 * @return 0; -EINVAL no ranks, or a window that has no room for them; -ENOMEM. Undone by: fst3fs_share_close().
 */
FST3FS_API int fst3fs_share_open(const struct fst3fs_checkpoint *c, const size_t *which, size_t n, uint32_t ranks,
				 uint64_t window, uint64_t align, struct fst3fs_share **out, struct fst3fs_error *err);
/** NULL is fine. */
FST3FS_API void fst3fs_share_close(struct fst3fs_share *s);
FST3FS_API uint64_t fst3fs_share_windows(const struct fst3fs_share *s);
/** The bytes of a window and of each rank's slice in it: slice r begins at r times that. -EINVAL: no such window. */
FST3FS_API int fst3fs_share_window(const struct fst3fs_share *s, uint64_t window, uint64_t *bytes, uint64_t *slice);
/**
 * What @p rank reads of a window that is to lie at address @p base: for fst3fs_read_many or fst3fs_start_many.
 *
 * @param out  Room for @p max requests; their paths belong to the checkpoint. NULL with @p max 0 = just count.
 * @return how many there are, whatever the room; -EINVAL no such window or rank.
 */
FST3FS_API int64_t fst3fs_share_requests(const struct fst3fs_share *s, uint64_t window, uint32_t rank, uint64_t base,
					 struct fst3fs_request *out, size_t max);

/** Bytes [at, at + length) of a window are those of @p tensor from @p offset on. */
struct fst3fs_share_copy {
	size_t tensor;
	uint64_t offset, at, length;
};

/** Which bytes of tensors a window has, in its order. Room and result as in fst3fs_share_requests. */
FST3FS_API int64_t fst3fs_share_copies(const struct fst3fs_share *s, uint64_t window, struct fst3fs_share_copy *out,
				       size_t max);

#ifdef __cplusplus
}
#endif

#endif

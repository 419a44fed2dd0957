/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the fake driver share. Everything is guarded by one lock; one condition tells of every change. */
#ifndef FAKE_H
#define FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fake_cuda.h"

enum {
	CUDA_SUCCESS = 0,
	CUDA_ERROR_INVALID_VALUE = 1,
	CUDA_ERROR_OUT_OF_MEMORY = 2,
	CUDA_ERROR_NOT_INITIALIZED = 3,
	CUDA_ERROR_NO_DEVICE = 100,
	CUDA_ERROR_INVALID_DEVICE = 101,
	CUDA_ERROR_INVALID_CONTEXT = 201,
	CUDA_ERROR_ECC_UNCORRECTABLE = 214,
	CUDA_ERROR_OPERATING_SYSTEM = 304,
	CUDA_ERROR_INVALID_HANDLE = 400,
	CUDA_ERROR_NOT_READY = 600,
	CUDA_ERROR_ILLEGAL_ADDRESS = 700,
	CUDA_ERROR_LAUNCH_TIMEOUT = 702,
	CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
	CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712,
	CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = 713,
	CUDA_ERROR_LAUNCH_FAILED = 719,
	CUDA_ERROR_NOT_SUPPORTED = 801,
	CUDA_ERROR_UNKNOWN = 999,
};

enum { MAX_DEVICES = 8 };

/* Handles are kept for ever, so that use after destroy is recognised. */
struct CUctx_st {
	int device;
	bool primary, destroyed;
	CUresult broken; /* an error that the context does not come back from */
	struct CUstream_st *legacy;
	struct CUctx_st *next;
};

struct CUevent_st {
	struct CUctx_st *ctx;
	uint64_t recorded, done; /* how many records were queued, and the last one reached */
	bool destroyed;
	struct CUevent_st *next;
};

enum op_kind { OP_COPY, OP_KERNEL, OP_RECORD, OP_WAIT, OP_HOST_FUNC };

struct op {
	enum op_kind kind;
	struct allocation *memory; /* OP_COPY, OP_KERNEL */
	struct allocation *source; /* OP_COPY: the page-locked memory it comes from, if it does */
	size_t offset, size;
	void *host;
	void *bounce; /* a copy out of memory that is not page-locked took its bytes along */
	bool write;
	unsigned delay_us;
	struct CUevent_st *event; /* OP_RECORD, OP_WAIT */
	uint64_t generation;
	void (*fn)(void *); /* OP_HOST_FUNC */
	void *arg;
	struct op *next;
};

struct CUstream_st {
	struct CUctx_st *ctx;
	struct op *head, **tail; /* the head is being executed */
	bool destroyed;
	struct CUstream_st *next;
};

enum memory_kind { MEMORY_DEVICE, MEMORY_MANAGED, MEMORY_HOST, MEMORY_REGISTERED };

struct allocation {
	enum memory_kind kind;
	uint8_t *address; /* what the caller sees */
	uint8_t *inside;  /* the same memory as the fake reaches it */
	size_t size;
	int device;
	struct CUctx_st *ctx; /* NULL: of the device as a whole */
	int in_flight;	      /* copies that use it */
	bool freed;
	struct allocation *next;
};

struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool initialised, hung;
	int devices;
	unsigned delay_us;
	struct CUctx_st *primary[MAX_DEVICES];
	int primary_refs[MAX_DEVICES];
	struct CUctx_st *contexts;
	struct CUstream_st *streams;
	struct CUevent_st *events;
	struct allocation *memory;
	struct op *dropped; /* host functions that will never run, kept as a driver keeps them */
	struct fake_cuda_counts counts;
	char first_wrong[256];
};

extern struct fake fake;

/* Every function of the driver begins with enter, which takes the lock, counts, and answers what is to go wrong here,
 * and ends with `return leave(rc)`. */
CUresult enter(const char *name);
CUresult leave(CUresult rc);
/* The same for things that are no call; with the lock held. */
CUresult injected(const char *name);
void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *error_name(CUresult rc);
bool breaks_context(CUresult rc);

/* The context on top of this thread's stack; NULL if none. */
struct CUctx_st *current(void);
/* CUDA_SUCCESS if there is a usable current context. */
CUresult current_usable(struct CUctx_st **out);
struct CUstream_st *legacy_stream(struct CUctx_st *ctx);
struct CUstream_st *stream_new(struct CUctx_st *ctx);
/* Waits until a stream has executed everything; returns what the context broke with, if it did. */
CUresult drain(struct CUstream_st *stream);
void push_op(struct CUstream_st *stream, const struct op *op);

struct allocation *find_memory(uint64_t address, size_t size);
struct allocation *find_pinned(const void *address, size_t size);

#endif

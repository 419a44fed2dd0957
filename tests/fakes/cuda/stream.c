/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: a thread each, that executes what was queued in order. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

/* ------------------------------------------------------------------ executing */

static void move_bytes(const struct op *op)
{
	uint8_t *device = op->memory->inside + op->offset;

	if (op->kind == OP_COPY)
		memcpy(device, op->bounce ? op->bounce : op->host, op->size);
	else if (op->write)
		memcpy(device, op->host, op->size);
	else
		memcpy(op->host, device, op->size);
}

/* Without the lock while it takes its time, so that a race with the owner of the memory shows. */
static void execute_move(struct CUstream_st *stream, const struct op *op)
{
	CUresult rc;

	pthread_mutex_unlock(&fake.lock);
	usleep(op->delay_us);
	pthread_mutex_lock(&fake.lock);
	rc = op->kind == OP_COPY ? injected("copy") : CUDA_SUCCESS;
	if (rc != CUDA_SUCCESS)
		stream->ctx->broken = rc;
	if (!stream->ctx->broken) {
		pthread_mutex_unlock(&fake.lock);
		move_bytes(op);
		pthread_mutex_lock(&fake.lock);
		fake.counts.copies += op->kind == OP_COPY;
	}
}

static void execute_host_func(struct CUstream_st *stream, const struct op *op)
{
	if (stream->ctx->broken) {
		struct op *kept = malloc(sizeof(*kept));

		*kept = *op;
		kept->next = fake.dropped;
		fake.dropped = kept;
		return;
	}
	fake.counts.host_funcs++;
	pthread_mutex_unlock(&fake.lock);
	op->fn(op->arg);
	pthread_mutex_lock(&fake.lock);
}

static void execute(struct CUstream_st *stream, const struct op *op)
{
	switch (op->kind) {
	case OP_COPY:
	case OP_KERNEL:
		execute_move(stream, op);
		break;
	case OP_RECORD:
		if (!stream->ctx->broken && op->event->done < op->generation)
			op->event->done = op->generation;
		break;
	case OP_WAIT:
		while (op->event->done < op->generation && !op->event->ctx->broken && !stream->ctx->broken)
			pthread_cond_wait(&fake.changed, &fake.lock);
		break;
	case OP_HOST_FUNC:
		execute_host_func(stream, op);
		break;
	}
}

static void op_end(struct CUstream_st *stream)
{
	struct op *op = stream->head;

	if (op->memory)
		op->memory->in_flight--;
	if (op->source)
		op->source->in_flight--;
	stream->head = op->next;
	if (!stream->head)
		stream->tail = &stream->head;
	free(op->bounce);
	free(op);
	pthread_cond_broadcast(&fake.changed);
}

static void *stream_thread(void *arg)
{
	struct CUstream_st *stream = arg;

	pthread_mutex_lock(&fake.lock);
	while (stream->head || !stream->destroyed) {
		if (!stream->head || fake.hung) {
			pthread_cond_wait(&fake.changed, &fake.lock);
			continue;
		}
		execute(stream, stream->head);
		op_end(stream);
	}
	pthread_mutex_unlock(&fake.lock);
	return NULL;
}

void push_op(struct CUstream_st *stream, const struct op *op)
{
	struct op *copy = malloc(sizeof(*copy));

	*copy = *op;
	copy->next = NULL;
	if (copy->memory)
		copy->memory->in_flight++;
	if (copy->source)
		copy->source->in_flight++;
	*stream->tail = copy;
	stream->tail = &copy->next;
	pthread_cond_broadcast(&fake.changed);
}

CUresult drain(struct CUstream_st *stream)
{
	while (stream->head && !stream->ctx->broken)
		pthread_cond_wait(&fake.changed, &fake.lock);
	return stream->ctx->broken;
}

/* ------------------------------------------------------------------ life */

struct CUstream_st *stream_new(struct CUctx_st *ctx)
{
	struct CUstream_st *stream = calloc(1, sizeof(*stream));
	pthread_t thread;

	stream->ctx = ctx;
	stream->tail = &stream->head;
	stream->next = fake.streams;
	fake.streams = stream;
	pthread_create(&thread, NULL, stream_thread, stream);
	pthread_detach(thread);
	return stream;
}

struct CUstream_st *legacy_stream(struct CUctx_st *ctx)
{
	if (!ctx->legacy)
		ctx->legacy = stream_new(ctx);
	return ctx->legacy;
}

/* The stream behind a handle (NULL and 1 are the current context's default stream), if it may be used now. */
static CUresult resolve(CUstream handle, struct CUstream_st **out)
{
	struct CUctx_st *ctx;
	CUresult rc;

	if ((uintptr_t)handle <= 1) {
		rc = current_usable(&ctx);
		if (rc == CUDA_SUCCESS)
			*out = legacy_stream(ctx);
		return rc;
	}
	*out = handle;
	if (handle->destroyed) {
		wrong("use of a stream after it was destroyed");
		return CUDA_ERROR_INVALID_HANDLE;
	}
	return handle->ctx->destroyed ? CUDA_ERROR_CONTEXT_IS_DESTROYED : handle->ctx->broken;
}

CUresult cuStreamCreate(CUstream *out, unsigned flags)
{
	struct CUctx_st *ctx;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc == CUDA_SUCCESS) {
		if (flags != 1)
			wrong("a stream that the default stream waits for (flags %u)", flags);
		*out = stream_new(ctx);
		fake.counts.streams++;
	}
	return leave(rc);
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
	CUresult rc = enter(__func__);

	if (stream->destroyed) {
		wrong("a stream destroyed twice");
		rc = CUDA_ERROR_INVALID_HANDLE;
	} else {
		/* Even in a broken context the handle is gone after this. */
		stream->destroyed = true;
		fake.counts.streams--;
	}
	return leave(rc);
}

CUresult cuStreamSynchronize(CUstream handle)
{
	struct CUstream_st *stream;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = resolve(handle, &stream);
	if (rc == CUDA_SUCCESS)
		rc = drain(stream);
	return leave(rc);
}

/* ------------------------------------------------------------------ events */

CUresult cuEventCreate(CUevent *out, unsigned flags)
{
	struct CUctx_st *ctx;
	CUresult rc = enter(__func__);

	(void)flags;
	if (rc == CUDA_SUCCESS)
		rc = current_usable(&ctx);
	if (rc == CUDA_SUCCESS) {
		*out = calloc(1, sizeof(**out));
		(*out)->ctx = ctx;
		(*out)->next = fake.events;
		fake.events = *out;
		fake.counts.events++;
	}
	return leave(rc);
}

static CUresult event_usable(const struct CUevent_st *event)
{
	if (event->destroyed) {
		wrong("use of an event after it was destroyed");
		return CUDA_ERROR_INVALID_HANDLE;
	}
	return event->ctx->destroyed ? CUDA_ERROR_CONTEXT_IS_DESTROYED : event->ctx->broken;
}

CUresult cuEventDestroy_v2(CUevent event)
{
	CUresult rc = enter(__func__);

	if (event->destroyed) {
		wrong("an event destroyed twice");
		rc = CUDA_ERROR_INVALID_HANDLE;
	} else {
		event->destroyed = true;
		fake.counts.events--;
	}
	return leave(rc);
}

CUresult cuEventRecord(CUevent event, CUstream handle)
{
	struct CUstream_st *stream;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = event_usable(event);
	if (rc == CUDA_SUCCESS)
		rc = resolve(handle, &stream);
	if (rc == CUDA_SUCCESS && stream->ctx != event->ctx) {
		wrong("an event recorded in a stream of another context");
		rc = CUDA_ERROR_INVALID_HANDLE;
	}
	if (rc == CUDA_SUCCESS) {
		fake.counts.legacy_records += stream == stream->ctx->legacy;
		push_op(stream, &(struct op){.kind = OP_RECORD, .event = event, .generation = ++event->recorded});
	}
	return leave(rc);
}

CUresult cuEventQuery(CUevent event)
{
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = event_usable(event);
	if (rc == CUDA_SUCCESS && event->done < event->recorded)
		rc = CUDA_ERROR_NOT_READY;
	return leave(rc);
}

CUresult cuEventSynchronize(CUevent event)
{
	CUresult rc = enter(__func__);

	while (rc == CUDA_SUCCESS && event->done < event->recorded) {
		rc = event_usable(event);
		if (rc == CUDA_SUCCESS)
			pthread_cond_wait(&fake.changed, &fake.lock);
	}
	return leave(rc);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned flags)
{
	struct CUstream_st *stream;
	CUresult rc = enter(__func__);

	(void)flags;
	if (rc == CUDA_SUCCESS)
		rc = event_usable(event);
	if (rc == CUDA_SUCCESS)
		rc = resolve(handle, &stream);
	if (rc == CUDA_SUCCESS)
		push_op(stream, &(struct op){.kind = OP_WAIT, .event = event, .generation = event->recorded});
	return leave(rc);
}

CUresult cuLaunchHostFunc(CUstream handle, void (*fn)(void *), void *arg)
{
	struct CUstream_st *stream;
	CUresult rc = enter(__func__);

	if (rc == CUDA_SUCCESS)
		rc = resolve(handle, &stream);
	if (rc == CUDA_SUCCESS)
		push_op(stream, &(struct op){.kind = OP_HOST_FUNC, .fn = fn, .arg = arg});
	return leave(rc);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_lane.h"

#include <errno.h>
#include <stdlib.h>

static int report(const struct fst3fs_cuda_lane *lane, struct fst3fs_error *err)
{
	return fst3fs_cuda_error(lane->cu, err, lane->where, lane->failed, lane->failure);
}

/* The first failure is the one that explains the others. What is under way is waited for, so that no engine of the
 * GPU reads the staging buffer any more when its copies are handed back; in a broken context that returns at once. */
static void fail(struct fst3fs_cuda_lane *lane, const char *call, fst3fs_cu_result rc)
{
	if (lane->failed)
		return;
	lane->failed = call;
	lane->failure = rc;
	lane->cu->stream_synchronize(lane->copies);
}

static bool check(struct fst3fs_cuda_lane *lane, const char *call, fst3fs_cu_result rc)
{
	if (rc != FST3FS_CU_SUCCESS)
		fail(lane, call, rc);
	return rc == FST3FS_CU_SUCCESS;
}

/* A call that queued nothing concerns nobody but its caller: another thread's copies go on. In a context that is broken
 * they will come to know it by themselves. */
static int refuse(const struct fst3fs_cuda_lane *lane, struct fst3fs_error *err, const char *call, fst3fs_cu_result rc)
{
	return rc == FST3FS_CU_SUCCESS ? 0 : fst3fs_cuda_error(lane->cu, err, lane->where, call, rc);
}

static int enter(struct fst3fs_cuda_lane *lane, struct fst3fs_error *err)
{
	return refuse(lane, err, "cuCtxPushCurrent", fst3fs_cuda_enter(lane->cu, &lane->ctx));
}

/* ------------------------------------------------------------------ life */

static int make_streams(struct fst3fs_cuda_lane *lane, struct fst3fs_error *err)
{
	const struct fst3fs_cuda_driver *cu = lane->cu;
	fst3fs_cu_result rc = cu->stream_create(&lane->copies, FST3FS_CU_STREAM_NON_BLOCKING);

	if (rc == FST3FS_CU_SUCCESS)
		rc = cu->stream_create(&lane->wakes, FST3FS_CU_STREAM_NON_BLOCKING);
	if (rc != FST3FS_CU_SUCCESS)
		return refuse(lane, err, "cuStreamCreate", rc);
	return refuse(lane, err, "cuEventCreate", cu->event_create(&lane->order, FST3FS_CU_EVENT_DISABLE_TIMING));
}

int fst3fs_cuda_lane_open(const struct fst3fs_cuda_driver *cu, const struct fst3fs_cuda_place *place, const char *where,
			  struct fst3fs_waker *waker, struct fst3fs_cuda_lane **out, struct fst3fs_error *err)
{
	struct fst3fs_cuda_lane *lane = calloc(1, sizeof(*lane));
	int rc;

	if (!lane)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a stream of copies to %s", where);
	*lane = (struct fst3fs_cuda_lane){.cu = cu, .where = where, .waker = waker, .tail = &lane->head};
	lane->notice = fst3fs_cuda_notice_new(waker);
	rc = lane->notice ? 0 : fst3fs_err_set(err, -ENOMEM, "no memory for a stream of copies to %s", where);
	if (rc == 0)
		rc = fst3fs_cuda_context_get(cu, place, &lane->ctx, err);
	if (rc == 0)
		rc = enter(lane, err);
	if (rc == 0) {
		rc = make_streams(lane, err);
		fst3fs_cuda_leave(cu);
	}
	if (rc < 0) {
		fst3fs_cuda_lane_close(lane);
		return rc;
	}
	*out = lane;
	return 0;
}

static void destroy_driver_objects(struct fst3fs_cuda_lane *lane)
{
	const struct fst3fs_cuda_driver *cu = lane->cu;

	if (lane->ctx.handle && fst3fs_cuda_enter(cu, &lane->ctx) == FST3FS_CU_SUCCESS) {
		for (size_t i = 0; i < lane->idle_count; i++)
			cu->event_destroy(lane->idle[i]);
		if (lane->order)
			cu->event_destroy(lane->order);
		/* A wake-up still under way is delivered later: the driver lets a destroyed stream finish. */
		if (lane->wakes)
			cu->stream_destroy(lane->wakes);
		if (lane->copies)
			cu->stream_destroy(lane->copies);
		fst3fs_cuda_leave(cu);
	}
	fst3fs_cuda_context_put(cu, &lane->ctx);
}

void fst3fs_cuda_lane_close(struct fst3fs_cuda_lane *lane)
{
	/* Copies still under way at this point are those of a GPU that has stopped answering: any call about its
	 * streams, events or context may block for ever, so they are left as they are. */
	if (!lane->head)
		destroy_driver_objects(lane);
	fst3fs_cuda_notice_close(lane->notice);
	free(lane->idle);
	free(lane);
}

/* ------------------------------------------------------------------ events */

static int event_get(struct fst3fs_cuda_lane *lane, struct CUevent_st **out, struct fst3fs_error *err)
{
	struct CUevent_st **grown;
	int rc;

	if (lane->idle_count > 0) {
		*out = lane->idle[--lane->idle_count];
		return 0;
	}
	/* Room to take it back is made first, so that giving an event back cannot fail. */
	grown = realloc(lane->idle, (lane->events + 1) * sizeof(struct CUevent_st *));
	if (!grown)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a copy to %s", lane->where);
	lane->idle = grown;
	rc = refuse(lane, err, "cuEventCreate", lane->cu->event_create(out, FST3FS_CU_EVENT_DISABLE_TIMING));
	if (rc == 0)
		lane->events++;
	return rc;
}

static void event_put(struct fst3fs_cuda_lane *lane, struct CUevent_st *event)
{
	lane->idle[lane->idle_count++] = event;
}

/* Has the oldest copy wake the engine, unless a wake-up is on its way already. */
static void arm(struct fst3fs_cuda_lane *lane)
{
	const struct fst3fs_cuda_driver *cu = lane->cu;

	if (!lane->head || !fst3fs_cuda_notice_arm(lane->notice))
		return;
	if (check(lane, "cuStreamWaitEvent", cu->stream_wait_event(lane->wakes, lane->head->priv, 0)) &&
	    check(lane, "cuLaunchHostFunc", cu->launch_host_func(lane->wakes, fst3fs_cuda_notice_run, lane->notice)))
		return;
	fst3fs_cuda_notice_disarm(lane->notice);
	/* The copies ended with the failure, and nobody else will say so. */
	fst3fs_waker_post(lane->waker);
}

/* ------------------------------------------------------------------ copies */

int fst3fs_cuda_lane_begin(struct fst3fs_cuda_lane *lane, struct fst3fs_error *err)
{
	const struct fst3fs_cuda_driver *cu = lane->cu;
	int rc = lane->failed ? report(lane, err) : enter(lane, err);

	if (rc < 0)
		return rc;
	/* The wait takes the record as it stands now, so one event serves every read. */
	rc = refuse(lane, err, "cuEventRecord", cu->event_record(lane->order, FST3FS_CU_STREAM_LEGACY));
	if (rc == 0)
		rc = refuse(lane, err, "cuStreamWaitEvent", cu->stream_wait_event(lane->copies, lane->order, 0));
	fst3fs_cuda_leave(cu);
	return rc;
}

static fst3fs_cu_result queue_part(const struct fst3fs_cuda_lane *lane, const struct fst3fs_dev_part *part)
{
	return lane->cu->memcpy_htod_async(part->dst, part->src, part->length, lane->copies);
}

/* Queues the copy's parts and one event for all of them. On failure nothing of the copy is under way: a later part that
 * fails takes the lane with it, which waits for those before. */
static int queue(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy *copy, struct fst3fs_error *err)
{
	const struct fst3fs_cuda_driver *cu = lane->cu;
	int rc = refuse(lane, err, "cuMemcpyHtoDAsync", queue_part(lane, &copy->parts[0]));

	for (size_t i = 1; rc == 0 && i < copy->nparts; i++)
		if (!check(lane, "cuMemcpyHtoDAsync", queue_part(lane, &copy->parts[i])))
			rc = report(lane, err);
	if (rc == 0 && !check(lane, "cuEventRecord", cu->event_record(copy->priv, lane->copies)))
		rc = report(lane, err);
	return rc;
}

static int start(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy *copy, bool wait, struct fst3fs_error *err)
{
	struct CUevent_st *event = NULL;
	int rc = event_get(lane, &event, err);

	if (rc < 0)
		return rc;
	copy->priv = event;
	rc = queue(lane, copy, err);
	if (rc < 0) {
		event_put(lane, event);
		return rc;
	}
	copy->next = NULL;
	*lane->tail = copy;
	lane->tail = &copy->next;
	if (wait)
		check(lane, "cuStreamSynchronize", lane->cu->stream_synchronize(lane->copies));
	else
		arm(lane);
	return 0;
}

int fst3fs_cuda_lane_copy(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy *copy, bool wait,
			  struct fst3fs_error *err)
{
	int rc = lane->failed ? report(lane, err) : enter(lane, err);

	if (rc < 0)
		return rc;
	rc = start(lane, copy, wait, err);
	fst3fs_cuda_leave(lane->cu);
	return rc;
}

/* Is the oldest copy over? A lane that has failed has nothing under way. */
static bool is_over(struct fst3fs_cuda_lane *lane)
{
	fst3fs_cu_result rc;

	if (lane->failed)
		return true;
	rc = lane->cu->event_query(lane->head->priv);
	if (rc == FST3FS_CU_NOT_READY)
		return false;
	check(lane, "cuEventQuery", rc);
	return true;
}

static int reap_entered(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy **out, int max)
{
	int n = 0;

	while (n < max && lane->head && is_over(lane)) {
		struct fst3fs_dev_copy *copy = lane->head;

		lane->head = copy->next;
		if (!lane->head)
			lane->tail = &lane->head;
		copy->status = lane->failed ? -EIO : 0;
		event_put(lane, copy->priv);
		out[n++] = copy;
	}
	if (!lane->failed)
		arm(lane);
	return n;
}

int fst3fs_cuda_lane_reap(struct fst3fs_cuda_lane *lane, struct fst3fs_dev_copy **out, int max,
			  struct fst3fs_error *err)
{
	bool entered;
	int n;

	if (!lane->head)
		return 0;
	entered = check(lane, "cuCtxPushCurrent", fst3fs_cuda_enter(lane->cu, &lane->ctx));
	n = reap_entered(lane, out, max);
	if (entered)
		fst3fs_cuda_leave(lane->cu);
	if (n > 0 && out[n - 1]->status < 0)
		report(lane, err);
	return n;
}

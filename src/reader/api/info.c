/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader uses, and what it has done so far. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "reader_i.h"

static void info_session(struct fst3fs_reader *r, struct fst3fs_info *info)
{
	struct fst3fs_session *s = r->engine.session;
	struct fst3fs_io *io = s->main ? s->main : s->posix;

	snprintf(info->client, sizeof(info->client), "%s", io->ops->client(io));
	info->iov_base = s->staging->base;
	info->iov_length = s->staging->size;
	info->iov_huge = s->staging->huge;
	for (unsigned i = 0; i < s->ndevs; i++) {
		int locked = s->devs[i]->ops->page_locked(s->devs[i]);

		r->page_locked = locked > r->page_locked ? locked : r->page_locked;
	}
}

int fst3fs_get_info(struct fst3fs_reader *r, struct fst3fs_info *info)
{
	struct fst3fs_populated made;

	if (info->size != sizeof(*info))
		return -EINVAL;
	*info = (struct fst3fs_info){
		.size = sizeof(*info),
		.buffer_size = r->buffer_size,
		.piece_size = r->engine.layout.piece,
		.window = r->engine.layout.window,
	};
	snprintf(info->transport, sizeof(info->transport), "%s",
		 r->engine.main ? r->engine.main->name : fst3fs_io_posix.name);
	snprintf(info->why_not, sizeof(info->why_not), "%s", r->why_not);
	if (r->pid != getpid())
		return -ECHILD;
	info->open_files = fst3fs_files_count(r->engine.files);
	pthread_mutex_lock(&r->engine.lock);
	if (r->engine.session)
		info_session(r, info);
	fst3fs_reader_count_memory(r, &info->alloc_length, &info->alloc_huge);
	memcpy(info->devices, r->engine.devices, sizeof(info->devices));
	info->page_locked = r->page_locked;
	info->reads = r->engine.count.reads;
	info->requests = r->engine.count.requests;
	info->bytes = r->engine.count.bytes;
	info->bytes_posix = r->engine.count.bytes_posix;
	info->bytes_direct = r->engine.count.bytes_direct;
	info->io_wait_ns = r->engine.count.io_wait_ns;
	info->copy_wait_ns = r->engine.count.copy_wait_ns;
	info->given_up = r->engine.count.given_up;
	pthread_mutex_unlock(&r->engine.lock);
	made = fst3fs_populator_made(r->engine.populator);
	info->populated = made.bytes;
	info->populated_huge = made.huge;
	return 0;
}

static void stats_fill(const struct fst3fs_counters *c, struct fst3fs_stats *stats)
{
	*stats = (struct fst3fs_stats){
		.size = sizeof(*stats),
		.now_ns = fst3fs_now_ns(),
		.reads = c->reads,
		.requests = c->requests,
		.bytes = c->bytes,
		.bytes_posix = c->bytes_posix,
		.bytes_direct = c->bytes_direct,
		.in_flight = c->in_flight,
		.in_flight_max = c->in_flight_max,
		.in_flight_ns = c->in_flight_ns,
		.flight_ns = c->flight_ns,
		.io_wait_ns = c->io_wait_ns,
		.copy_wait_ns = c->copy_wait_ns,
		.slot_wait_ns = c->slot_wait_ns,
		.consumer_wait_ns = c->consumer_wait_ns,
		.given_up = c->given_up,
		.fallbacks = c->fallbacks,
		.latency_ns = c->latency_ns,
	};
	memcpy(stats->latency, c->latency, sizeof(stats->latency));
	/* The time since the last change counts as well. */
	if (c->in_flight > 0) {
		stats->in_flight_ns += c->in_flight * (stats->now_ns - c->changed_ns);
		stats->flight_ns += stats->now_ns - c->changed_ns;
	}
}

int fst3fs_get_stats(struct fst3fs_reader *r, struct fst3fs_stats *stats)
{
	if (stats->size != sizeof(*stats))
		return -EINVAL;
	if (r->pid != getpid())
		return -ECHILD;
	pthread_mutex_lock(&r->engine.lock);
	stats_fill(&r->engine.count, stats);
	pthread_mutex_unlock(&r->engine.lock);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"

#include <errno.h>
#include <unistd.h>

#include "clock.h"
#include "fileio.h"
#include "sigbus.h"

static int start_storage(struct usrbiod *d)
{
	const struct options *o = &d->options;

	return storage_start(&d->storage, &(struct storage_config){
						  .link = {.latency_ns = o->latency_us * 1000,
							   .jitter_ns = o->jitter_us * 1000,
							   .bytes_per_s = o->bandwidth_mbps * 1000000,
							   .job_bytes_per_s = o->job_mbps * 1000000},
						  .admission = {.host = (int)o->host_limit,
								.server = (int)o->server_limit,
								.servers = (int)o->servers},
						  .chunk_bytes = o->chunk_kb * 1024,
						  .fault_every = {[FAULT_FAIL] = o->fail_every,
								  [FAULT_HANG] = o->hang_every,
								  [FAULT_SHORT] = o->short_every},
					  });
}

static int start_rings(struct usrbiod *d)
{
	d->backend = (struct backend){
		.stats = &d->stats,
		.storage = &d->storage,
		.inodes = d->fs.inodes,
		.iovs = d->fs.iovs,
		.copiers = d->fs.copiers,
		.read_only = d->options.read_only,
		.null = d->options.null,
	};
	return rings_start(&d->backend, (int)d->options.workers, &d->fs.rings);
}

/* All but what `fs` has of its own. */
static void fill_fs(struct usrbiod *d)
{
	const struct options *o = &d->options;

	d->fs.config = (struct fs_config){
		.cluster = o->cluster,
		.read_only = o->read_only,
		.strict_keys = o->strict_keys,
		.attr_timeout_s = (double)o->attr_timeout_s,
		.meta_latency_ns = o->meta_latency_us * 1000,
	};
	d->fs.stats = &d->stats;
	d->fs.storage = &d->storage;
}

int parts_start(struct usrbiod *d, int root_fd)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int rc;

	stats_init(&d->stats);
	dirhandles_init(&d->fs.dirs);
	fill_fs(d);
	rc = start_storage(d);
	d->fs.inodes = inodes_new(root_fd);
	if (!d->fs.inodes)
		close(root_fd);
	d->fs.copiers = fst3fs_pool_new("copier", cpus < 2 ? 2 : cpus > 16 ? 16 : (int)cpus);
	d->fs.iovs = iovs_new(&d->stats);
	if (rc == 0 && (!d->fs.inodes || !d->fs.copiers || !d->fs.iovs))
		rc = -ENOMEM;
	if (rc == 0)
		rc = sigbus_init();
	if (rc == 0)
		rc = fileio_init();
	if (rc == 0)
		rc = start_rings(d);
	return rc;
}

bool parts_stop(struct usrbiod *d)
{
	if (d->fs.rings)
		rings_stop(d->fs.rings);
	storage_stop(&d->storage);
	return fst3fs_pool_leave(d->fs.copiers, fst3fs_now_ns() + 5 * FST3FS_NS_PER_S);
}

void parts_free(struct usrbiod *d)
{
	dirhandles_fini(&d->fs.dirs);
	iovs_free(d->fs.iovs);
	rings_free(d->fs.rings);
	inodes_free(d->fs.inodes);
	storage_fini(&d->storage);
	stats_fini(&d->stats);
}

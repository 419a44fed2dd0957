/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static const char *const op_names[OPS] = {
	[OP_LOOKUP] = "lookup",
	[OP_GETATTR] = "getattr",
	[OP_SETATTR] = "setattr",
	[OP_READLINK] = "readlink",
	[OP_OPEN] = "open",
	[OP_CREATE] = "create",
	[OP_READ] = "read",
	[OP_WRITE] = "write",
	[OP_RELEASE] = "release",
	[OP_FSYNC] = "fsync",
	[OP_MKDIR] = "mkdir",
	[OP_UNLINK] = "unlink",
	[OP_RMDIR] = "rmdir",
	[OP_RENAME] = "rename",
	[OP_SYMLINK] = "symlink",
	[OP_LINK] = "link",
	[OP_OPENDIR] = "opendir",
	[OP_READDIR] = "readdir",
	[OP_RELEASEDIR] = "releasedir",
	[OP_STATFS] = "statfs",
	[OP_IOCTL] = "ioctl",
	[OP_FALLOCATE] = "fallocate",
};

static const char *const violation_names[VIOLATIONS] = {
	[VIOLATION_KEY] = "key",       [VIOLATION_HEADER] = "header",	[VIOLATION_INDEX] = "index",
	[VIOLATION_BUFFER] = "buffer", [VIOLATION_RANGE] = "range",	[VIOLATION_FILE] = "file",
	[VIOLATION_MEMORY] = "memory", [VIOLATION_OVERRUN] = "overrun",
};

void stats_init(struct stats *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->started_ns = s->last_change_ns = fst3fs_now_ns();
}

void stats_fini(struct stats *s)
{
	pthread_mutex_destroy(&s->lock);
}

void stats_op(struct stats *s, enum stats_op op)
{
	atomic_fetch_add_explicit(&s->ops[op], 1, memory_order_relaxed);
}

void stats_violation(struct stats *s, enum violation kind)
{
	atomic_fetch_add_explicit(&s->violations[kind], 1, memory_order_relaxed);
}

static void change_in_flight(struct stats *s, int change)
{
	uint64_t now = fst3fs_now_ns(), passed = now - s->last_change_ns;

	if (s->in_flight)
		s->busy_ns += passed;
	s->in_flight_ns += passed * (uint64_t)s->in_flight;
	s->last_change_ns = now;
	s->in_flight += change;
	if (s->in_flight > s->in_flight_max)
		s->in_flight_max = s->in_flight;
}

void stats_job_formed(struct stats *s, int requests)
{
	pthread_mutex_lock(&s->lock);
	s->requests += (uint64_t)requests;
	s->batches++;
	change_in_flight(s, requests);
	pthread_mutex_unlock(&s->lock);
}

void stats_job_done(struct stats *s, int requests, uint64_t bytes)
{
	pthread_mutex_lock(&s->lock);
	s->bytes += bytes;
	change_in_flight(s, -requests);
	pthread_mutex_unlock(&s->lock);
}

static void print_counts(FILE *f, const char *title, const char *const *names, const _Atomic uint64_t *counts, int n)
{
	fprintf(f, "  \"%s\": {", title);
	for (int i = 0; i < n; i++)
		fprintf(f, "%s\"%s\": %" PRIu64, i ? ", " : "", names[i], atomic_load(&counts[i]));
	fputs("},\n", f);
}

static void print_rings(struct stats *s, FILE *f)
{
	pthread_mutex_lock(&s->lock);
	change_in_flight(s, 0);
	fprintf(f,
		"  \"requests\": %" PRIu64 ",\n  \"bytes\": %" PRIu64 ",\n  \"batches\": %" PRIu64 ",\n"
		"  \"in_flight\": {\"now\": %d, \"max\": %d, \"average\": %.2f},\n",
		s->requests, s->bytes, s->batches, s->in_flight, s->in_flight_max,
		s->busy_ns ? (double)s->in_flight_ns / (double)s->busy_ns : 0.0);
	pthread_mutex_unlock(&s->lock);
}

static void print_all(struct stats *s, const struct faults *faults, FILE *f)
{
	uint64_t violations = 0;

	for (int i = 0; i < VIOLATIONS; i++)
		violations += atomic_load(&s->violations[i]);
	fprintf(f, "{\n  \"pid\": %d,\n  \"uptime_s\": %.3f,\n", (int)getpid(),
		(double)(fst3fs_now_ns() - s->started_ns) / (double)FST3FS_NS_PER_S);
	print_rings(s, f);
	fprintf(f, "  \"iovs\": %d,\n  \"rings\": %d,\n", atomic_load(&s->iovs), atomic_load(&s->rings));
	fprintf(f, "  \"faults\": {\"fail\": %" PRIu64 ", \"hang\": %" PRIu64 ", \"short\": %" PRIu64 "},\n",
		atomic_load(&faults->made[FAULT_FAIL]), atomic_load(&faults->made[FAULT_HANG]),
		atomic_load(&faults->made[FAULT_SHORT]));
	fprintf(f, "  \"violations\": %" PRIu64 ",\n", violations);
	print_counts(f, "violations_by_kind", violation_names, s->violations, VIOLATIONS);
	print_counts(f, "fuse", op_names, s->ops, OPS);
	fprintf(f, "  \"fuse_read_bytes\": %" PRIu64 "\n}\n", atomic_load(&s->read_bytes));
}

int stats_write(struct stats *s, const struct faults *faults, const char *path)
{
	char temporary[4096];
	int rc = 0;
	FILE *f;

	if (strcmp(path, "-") == 0) {
		print_all(s, faults, stdout);
		return fflush(stdout) ? -errno : 0;
	}
	if (snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid()) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	f = fopen(temporary, "we");
	if (!f)
		return -errno;
	print_all(s, faults, f);
	if (ferror(f))
		rc = -EIO;
	if (fclose(f) && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(temporary, path))
		rc = -errno;
	if (rc)
		unlink(temporary);
	return rc;
}

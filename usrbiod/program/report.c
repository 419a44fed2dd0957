/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

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
	[VIOLATION_KEY] = "key",       [VIOLATION_HEADER] = "header", [VIOLATION_INDEX] = "index",
	[VIOLATION_BUFFER] = "buffer", [VIOLATION_RANGE] = "range",   [VIOLATION_FILE] = "file",
	[VIOLATION_MEMORY] = "memory", [VIOLATION_BOUND] = "bound",   [VIOLATION_OVERRUN] = "overrun",
};

static void print_counts(FILE *f, const char *title, const char *const *names, const _Atomic uint64_t *counts, int n)
{
	fprintf(f, "  \"%s\": {", title);
	for (int i = 0; i < n; i++)
		fprintf(f, "%s\"%s\": %" PRIu64, i ? ", " : "", names[i], atomic_load(&counts[i]));
	fputs("},\n", f);
}

static void print_requests(struct stats *s, FILE *f)
{
	struct stats_requests now;

	stats_requests(s, &now);
	fprintf(f,
		"  \"requests\": %" PRIu64 ",\n  \"bytes\": %" PRIu64 ",\n  \"batches\": %" PRIu64 ",\n"
		"  \"in_flight\": {\"now\": %d, \"max\": %d, \"average\": %.2f},\n",
		now.requests, now.bytes, now.batches, now.in_flight, now.in_flight_max,
		now.busy_ns ? (double)now.in_flight_ns / (double)now.busy_ns : 0.0);
}

static void print_storage(struct storage *storage, FILE *f)
{
	struct admission_counts now;

	admission_count(&storage->admission, &now);
	fprintf(f,
		"  \"storage\": {\"requests\": %" PRIu64 ", \"waited\": %" PRIu64
		", \"in_flight\": %d, \"in_flight_max\": %d, \"server_max\": %d},\n",
		now.requests, now.waited, now.in_flight, now.in_flight_max, now.server_max);
}

static void print_all(struct stats *s, struct storage *storage, FILE *f)
{
	const struct faults *faults = &storage->faults;
	uint64_t violations = 0;

	for (int i = 0; i < VIOLATIONS; i++)
		violations += atomic_load(&s->violations[i]);
	fprintf(f, "{\n  \"pid\": %d,\n  \"uptime_s\": %.3f,\n", (int)getpid(),
		(double)(fst3fs_now_ns() - s->started_ns) / (double)FST3FS_NS_PER_S);
	print_requests(s, f);
	print_storage(storage, f);
	fprintf(f, "  \"iovs\": %d,\n  \"rings\": %d,\n", atomic_load(&s->iovs), atomic_load(&s->rings));
	fprintf(f, "  \"faults\": {\"fail\": %" PRIu64 ", \"hang\": %" PRIu64 ", \"short\": %" PRIu64 "},\n",
		atomic_load(&faults->made[FAULT_FAIL]), atomic_load(&faults->made[FAULT_HANG]),
		atomic_load(&faults->made[FAULT_SHORT]));
	fprintf(f, "  \"violations\": %" PRIu64 ",\n", violations);
	print_counts(f, "violations_by_kind", violation_names, s->violations, VIOLATIONS);
	print_counts(f, "fuse", op_names, s->ops, OPS);
	fprintf(f, "  \"fuse_read_bytes\": %" PRIu64 "\n}\n", atomic_load(&s->read_bytes));
}

int report_write(struct stats *s, struct storage *storage, const char *path)
{
	char temporary[4096];
	int rc = 0;
	FILE *f;

	if (strcmp(path, "-") == 0) {
		print_all(s, storage, stdout);
		return fflush(stdout) ? -errno : 0;
	}
	if (snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid()) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	f = fopen(temporary, "we");
	if (!f)
		return -errno;
	print_all(s, storage, f);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind {
	KIND_NUMBER,
	KIND_FLAG,
	KIND_TEXT,
	KIND_MOUNT, /* -o */
	KIND_HELP,
	KIND_VERSION,
};

/* One row for each option: parser and help come from here. */
struct row {
	const char *name;
	char letter;
	enum kind kind;
	size_t offset;
	uint64_t min, max;
	const char *arg, *help;
};

#define FIELD(f) offsetof(struct options, f)
#define HOUR_US 3600000000ull
#define TERA_MBPS 1000000000ull
#define ANY_COUNT 1000000000000ull

static const struct row rows[] = {
	{"foreground", 'f', KIND_FLAG, FIELD(foreground), 0, 0, NULL,
	 "stay in front; otherwise return when the mount works"},
	{"options", 'o', KIND_MOUNT, 0, 0, 0, "ro", "mount read-only"},
	{"latency-us", 0, KIND_NUMBER, FIELD(latency_us), 0, HOUR_US, "N", "each sub-read waits N microseconds (0)"},
	{"jitter-us", 0, KIND_NUMBER, FIELD(jitter_us), 0, HOUR_US, "N", "and 0 to N more, at random (0)"},
	{"bandwidth-mbps", 0, KIND_NUMBER, FIELD(bandwidth_mbps), 0, TERA_MBPS, "N",
	 "the link carries N MB (10^6 bytes) a second, all I/O together (0: no limit)"},
	{"job-mbps", 0, KIND_NUMBER, FIELD(job_mbps), 0, TERA_MBPS, "N",
	 "one job gets at most N MB a second (0: no limit)"},
	{"chunk-kb", 0, KIND_NUMBER, FIELD(chunk_kb), 4, 1048576, "N",
	 "requests are split at multiples of N KiB of the file; st_blksize (1024)"},
	{"host-limit", 0, KIND_NUMBER, FIELD(host_limit), 0, 1000000, "N",
	 "N storage requests at a time for the whole mount (0: no limit; 3FS: 32)"},
	{"server-limit", 0, KIND_NUMBER, FIELD(server_limit), 0, 1000000, "N",
	 "N storage requests at a time for each server (0: no limit; 3FS: 8)"},
	{"servers", 0, KIND_NUMBER, FIELD(servers), 1, 1000, "N",
	 "with a limit: chunks are striped over N servers (16)"},
	{"null", 0, KIND_FLAG, FIELD(null), 0, 0, NULL, "ring requests complete in simulated time and move no data"},
	{"meta-latency-us", 0, KIND_NUMBER, FIELD(meta_latency_us), 0, HOUR_US, "N",
	 "each metadata operation waits N microseconds (0)"},
	{"attr-timeout-s", 0, KIND_NUMBER, FIELD(attr_timeout_s), 0, 86400, "N",
	 "the kernel keeps names and attributes for N seconds (30)"},
	{"workers", 0, KIND_NUMBER, FIELD(workers), 1, 100000, "N", "jobs of normal priority that run at once (112)"},
	{"fail-every", 0, KIND_NUMBER, FIELD(fail_every), 0, ANY_COUNT, "N",
	 "each Nth request fails with EREMOTEIO (0: none)"},
	{"hang-every", 0, KIND_NUMBER, FIELD(hang_every), 0, ANY_COUNT, "N",
	 "each Nth request never completes (0: none)"},
	{"short-every", 0, KIND_NUMBER, FIELD(short_every), 0, ANY_COUNT, "N",
	 "each Nth request comes back with half of its bytes (0: none)"},
	{"strict-keys", 0, KIND_FLAG, FIELD(strict_keys), 0, 0, NULL,
	 "refuse keys that only later versions of 3FS refuse: a negative io_depth"},
	{"cluster", 0, KIND_TEXT, FIELD(cluster), 0, 0, "NAME", "the mount's source is hf3fs.NAME (local)"},
	{"stats", 0, KIND_TEXT, FIELD(stats_path), 0, 0, "PATH",
	 "write statistics (JSON) there on SIGUSR1 and at exit; - = stdout"},
	{"help", 'h', KIND_HELP, 0, 0, 0, NULL, "print this"},
	{"version", 'V', KIND_VERSION, 0, 0, 0, NULL, "print the version"},
};

enum {
	ROWS = sizeof(rows) / sizeof(rows[0]),
	LONG_ONLY = 256, /* getopt value of row i: LONG_ONLY + i */
};

static void print_help(void)
{
	puts("Usage: usrbiod [options] BACKING_DIR MOUNTPOINT\n\n"
	     "Serves a local directory as a 3FS mount with USRBIO, on one machine.\n");
	for (int i = 0; i < ROWS; i++) {
		char left[40], letter[8] = "    ";

		if (rows[i].letter)
			snprintf(letter, sizeof(letter), "-%c, ", rows[i].letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, rows[i].name, rows[i].arg ? " " : "",
			 rows[i].arg ? rows[i].arg : "");
		printf("  %-26s %s\n", left, rows[i].help);
	}
}

static int parse_number(const struct row *row, const char *text, struct options *out)
{
	uint64_t *value = (uint64_t *)((char *)out + row->offset);
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || n < row->min || n > row->max) {
		fprintf(stderr, "usrbiod: --%s: '%s' is not a whole number from %llu to %llu\n", row->name, text,
			(unsigned long long)row->min, (unsigned long long)row->max);
		return -EINVAL;
	}
	*value = n;
	return 0;
}

static int parse_mount_option(const char *text, struct options *out)
{
	if (strcmp(text, "ro")) {
		fprintf(stderr, "usrbiod: -o: '%s' is not known; only 'ro' is\n", text);
		return -EINVAL;
	}
	out->read_only = true;
	return 0;
}

static int apply(const struct row *row, const char *text, struct options *out)
{
	switch (row->kind) {
	case KIND_NUMBER:
		return parse_number(row, text, out);
	case KIND_MOUNT:
		return parse_mount_option(text, out);
	case KIND_FLAG:
		*(bool *)((char *)out + row->offset) = true;
		return 0;
	case KIND_TEXT:
		*(const char **)((char *)out + row->offset) = text;
		return 0;
	case KIND_HELP:
		print_help();
		return 1;
	case KIND_VERSION:
		puts("usrbiod " FST3FS_VERSION);
		return 1;
	}
	return -EINVAL;
}

static int row_of(int value)
{
	if (value >= LONG_ONLY)
		return value - LONG_ONLY;
	for (int i = 0; i < ROWS; i++) {
		if (rows[i].letter == value)
			return i;
	}
	return -1;
}

/* It becomes part of the mount's options, which commas separate. */
static bool cluster_is_fine(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return len > 0 && len < 32 && !name[len];
}

/* Storage requests that take no time are never two at once. */
static int check_limits(struct options *o)
{
	bool limited = o->host_limit || o->server_limit;

	if (limited && !o->latency_us && !o->jitter_us && !o->bandwidth_mbps && !o->job_mbps) {
		fprintf(stderr,
			"usrbiod: --%s: storage requests take no time here; give them some with --latency-us,"
			" --bandwidth-mbps or --job-mbps\n",
			o->host_limit ? "host-limit" : "server-limit");
		return -EINVAL;
	}
	if (o->servers && !limited) {
		fprintf(stderr, "usrbiod: --servers: only with --host-limit or --server-limit\n");
		return -EINVAL;
	}
	if (!o->servers)
		o->servers = 16;
	return 0;
}

static int check(struct options *o)
{
	if (!cluster_is_fine(o->cluster)) {
		fprintf(stderr, "usrbiod: --cluster: '%s' is not 1 to 31 letters, digits, '_', '.' or '-'\n",
			o->cluster);
		return -EINVAL;
	}
	if (o->stats_path && strcmp(o->stats_path, "-") == 0 && !o->foreground) {
		fprintf(stderr, "usrbiod: --stats -: only with -f, a daemon has no standard output\n");
		return -EINVAL;
	}
	return check_limits(o);
}

static int parse_positional(int argc, char **argv, struct options *out)
{
	if (argc - optind != 2) {
		fprintf(stderr, "usrbiod: need BACKING_DIR and MOUNTPOINT; see usrbiod --help\n");
		return -EINVAL;
	}
	out->backing = argv[optind];
	out->mountpoint = argv[optind + 1];
	return 0;
}

enum options_verdict options_parse(int argc, char **argv, struct options *out)
{
	struct option longs[ROWS + 1] = {0};
	int value, rc;

	*out = (struct options){.cluster = "local", .chunk_kb = 1024, .workers = 112, .attr_timeout_s = 30};
	for (int i = 0; i < ROWS; i++)
		longs[i] = (struct option){rows[i].name, rows[i].arg ? required_argument : no_argument, NULL,
					   LONG_ONLY + i};
	while ((value = getopt_long(argc, argv, "fo:hV", longs, NULL)) != -1) {
		int i = value == '?' ? -1 : row_of(value);

		if (i < 0)
			return OPTIONS_BAD; /* getopt has named the option */
		rc = apply(&rows[i], optarg, out);
		if (rc)
			return rc > 0 ? OPTIONS_EXIT : OPTIONS_BAD;
	}
	if (parse_positional(argc, argv, out) || check(out))
		return OPTIONS_BAD;
	return OPTIONS_RUN;
}

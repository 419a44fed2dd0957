/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#ifndef USRBIOD_OPTIONS_H
#define USRBIOD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *backing;
	const char *mountpoint;
	const char *cluster;
	const char *stats_path; /* NULL = none, "-" = standard output */
	bool foreground;
	bool null;
	bool read_only;
	bool strict_keys;
	uint64_t latency_us, jitter_us, meta_latency_us;
	uint64_t bandwidth_mbps, job_mbps;
	uint64_t chunk_kb;
	uint64_t host_limit, server_limit, servers;
	uint64_t workers;
	uint64_t attr_timeout_s;
	uint64_t fail_every, hang_every, short_every;
};

enum options_verdict {
	OPTIONS_RUN,
	OPTIONS_EXIT, /* --help or --version was answered */
	OPTIONS_BAD,  /* an error was printed */
};

/* The strings point into `argv`. */
enum options_verdict options_parse(int argc, char **argv, struct options *out);

#endif

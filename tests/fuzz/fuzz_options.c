/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of usrbiod: a line of an input is an argument.
 *
 * Covers: usrbiod/program/options.c
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "options.h"

enum { ARGUMENTS = 24 };

static void check_accepted(const struct options *o)
{
	static const uint64_t hour_us = 3600000000ull, most = 1000000000000ull;

	HOLDS(o->backing && o->mountpoint);
	HOLDS(strlen(o->cluster) > 0 && strlen(o->cluster) < 32 && !strpbrk(o->cluster, ",/ \\="));
	HOLDS(o->latency_us <= hour_us && o->jitter_us <= hour_us && o->meta_latency_us <= hour_us);
	HOLDS(o->chunk_kb >= 4 && o->chunk_kb <= 1048576 && o->workers >= 1 && o->workers <= 100000);
	HOLDS(o->servers >= 1 && o->servers <= 1000 && o->host_limit <= 1000000 && o->server_limit <= 1000000);
	HOLDS(o->fail_every <= most && o->hang_every <= most && o->short_every <= most);
	HOLDS(o->bandwidth_mbps <= most && o->job_mbps <= most && o->attr_timeout_s <= 86400);
	HOLDS(!o->stats_path || strcmp(o->stats_path, "-") != 0 || o->foreground);
}

static enum options_verdict parse(int argc, char **argv, struct options *out)
{
	FILE *null = fopen("/dev/null", "w"), *real_out = stdout, *real_err = stderr;
	enum options_verdict verdict;

	HOLDS(null);
	/* It talks to its user, and getopt does. */
	stdout = stderr = null;
	optind = 0; /* as it is in a fresh process */
	verdict = options_parse(argc, argv, out);
	stdout = real_out;
	stderr = real_err;
	fclose(null);
	return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, data + size};
	char *argv[ARGUMENTS + 1] = {strdup("usrbiod")}, *given[ARGUMENTS];
	struct options options;
	int argc = 1;

	while (argc < ARGUMENTS && in.at < in.end)
		argv[argc++] = fuzz_line(&in);
	/* getopt changes the order. */
	memcpy(given, argv, sizeof(given));
	if (parse(argc, argv, &options) == OPTIONS_RUN)
		check_accepted(&options);
	for (int i = 0; i < argc; i++)
		free(given[i]);
	return 0;
}

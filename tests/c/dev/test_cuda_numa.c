/* SPDX-License-Identifier: Apache-2.0 */
/* Which NUMA node a GPU hangs on, as sysfs tells it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cuda_numa.h"

static const char *const folders[] = {"devices", "devices/system",  "devices/system/node",	   "bus",
				      "bus/pci", "bus/pci/devices", "bus/pci/devices/0000:1a:00.0"};
static char root[] = "/tmp/fst3fs-numa-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	char full[256];

	(void)state;
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(full, sizeof(full), "%s/%s", root, folders[i]);
		assert_int_equal(mkdir(full, 0700), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	char full[256];

	(void)state;
	snprintf(full, sizeof(full), "%s/devices/system/node/online", root);
	unlink(full);
	snprintf(full, sizeof(full), "%s/bus/pci/devices/0000:1a:00.0/numa_node", root);
	unlink(full);
	for (size_t i = sizeof(folders) / sizeof(folders[0]); i-- > 0;) {
		snprintf(full, sizeof(full), "%s/%s", root, folders[i]);
		rmdir(full);
	}
	return rmdir(root);
}

static void the_node_is_the_one_in_sysfs(void **state)
{
	static const struct {
		const char *online, *node;
		int expected;
	} cases[] = {
		{"0-1\n", "1\n", 1},   {"0,8\n", "8\n", 8}, {"0-1\n", "0\n", 0},      {"0\n", "0\n", -1},
		{"0-1\n", "-1\n", -1}, {"0-1\n", "\n", -1}, {"0-1\n", "99999\n", -1}, {"", "1\n", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put("devices/system/node/online", cases[i].online);
		put("bus/pci/devices/0000:1a:00.0/numa_node", cases[i].node);
		assert_int_equal(fst3fs_cuda_numa_node(root, "0000:1a:00.0"), cases[i].expected);
	}
	assert_int_equal(fst3fs_cuda_numa_node(root, "0000:ff:00.0"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_node_is_the_one_in_sysfs, setup, teardown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

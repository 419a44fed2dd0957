/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool.h"

static void *end_at_once(void *arg)
{
	return arg;
}

/* Run without glibc's cache of stacks: what is left of a thread that has ended is gone then. */
static void a_thread_may_end_before_its_maker_goes_on(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(fst3fs_thread_detach("short", end_at_once, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_thread_may_end_before_its_maker_goes_on)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

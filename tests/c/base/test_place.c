/* SPDX-License-Identifier: Apache-2.0 */
/* Where a thread's pages come from, taken over by another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

struct policy {
	const struct fst3fs_place *place;
	bool undo;
	int mode;
	unsigned long nodes[FST3FS_MAX_NODES / (8 * sizeof(unsigned long))];
};

static long get_policy(struct policy *p)
{
	return syscall(SYS_get_mempolicy, &p->mode, p->nodes, (unsigned long)FST3FS_MAX_NODES, NULL, 0ul);
}

static void *take(void *arg)
{
	struct policy *p = arg;

	struct fst3fs_place before;

	fst3fs_place_take(p->place, p->undo ? &before : NULL);
	if (p->undo)
		fst3fs_place_take(&before, NULL);
	get_policy(p);
	return NULL;
}

static void in_a_thread(struct policy *p)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, take, p), 0);
	pthread_join(thread, NULL);
}

/* What a machine with one node never asks for, and the kernel takes all the same. */
static void a_thread_takes_a_policy_of_another(void **state)
{
	struct fst3fs_place place = {.policy = MPOL_PREFERRED, .nodes = {1}};
	struct policy p = {.place = &place, .mode = -1}, mine = {.mode = -1};

	(void)state;
	if (get_policy(&mine) < 0)
		skip();
	in_a_thread(&p);
	assert_int_equal(p.mode, MPOL_PREFERRED);
	assert_int_equal(p.nodes[0], 1);
	get_policy(&p);
	assert_int_equal(p.mode, mine.mode); /* and it is that thread's alone */
}

static void and_gives_it_back(void **state)
{
	struct fst3fs_place place = {.policy = MPOL_PREFERRED, .nodes = {1}};
	struct policy p = {.place = &place, .undo = true, .mode = -1}, mine = {.mode = -1};

	(void)state;
	if (get_policy(&mine) < 0)
		skip();
	in_a_thread(&p);
	assert_int_equal(p.mode, mine.mode);
}

static void nothing_to_choose_changes_nothing(void **state)
{
	const struct fst3fs_place place = {.policy = -1};
	struct policy p = {.place = &place, .mode = -1}, mine = {.mode = -1};

	(void)state;
	if (get_policy(&mine) < 0)
		skip();
	in_a_thread(&p);
	assert_int_equal(p.mode, mine.mode);
}

static void here_is_the_node_of_this_thread(void **state)
{
	struct fst3fs_place place;
	unsigned node;

	(void)state;
	fst3fs_place_here(&place);
	if (place.policy != MPOL_PREFERRED)
		skip(); /* one node, or policies are not to be had */
	assert_int_equal(syscall(SYS_getcpu, NULL, &node, NULL), 0);
	for (unsigned i = 0; i < FST3FS_MAX_NODES; i++)
		assert_int_equal((place.nodes[i / 64] >> i % 64) & 1, i == node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_takes_a_policy_of_another),
		cmocka_unit_test(and_gives_it_back),
		cmocka_unit_test(nothing_to_choose_changes_nothing),
		cmocka_unit_test(here_is_the_node_of_this_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Well-behaved clients of a real daemon: registration, batching, results. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cm.h"
#include "emulated.h"
#include "raw.h"

enum {
	KIB = 1024,
	FILE_BYTES = 300 * KIB + 7,
};

/* Small chunks, so that ordinary sizes cross their bounds. */
static struct served mount;
static int fd;
static uint64_t ino;

static int setup(void **state)
{
	(void)state;
	served_start(&mount, "--chunk-kb", "64", NULL);
	served_file(&mount, "file", FILE_BYTES);
	fd = raw_open(&mount, "file", &ino);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(served_stat(&mount, NULL, "violations"), 0);
	assert_int_equal(served_stat(&mount, NULL, "iovs"), 0);
	assert_int_equal(served_stat(&mount, NULL, "rings"), 0);
	close(fd);
	served_stop(&mount);
	return 0;
}

static void buffer_make(struct raw_shm *buf, size_t size)
{
	raw_shm_make(buf, size);
	assert_int_equal(raw_register(&mount, buf, ""), 0);
}

static void buffer_drop(struct raw_shm *buf)
{
	assert_int_equal(raw_unregister(&mount, buf), 0);
	raw_shm_drop(buf);
}

static void assert_bytes(const uint8_t *got, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (got[i] != served_byte(off + i))
			fail_msg("byte %zu of the file is wrong", (size_t)off + i);
	}
}

static void reads_deliver_the_bytes_of_any_range(void **state)
{
	static const struct {
		uint64_t off, len;
		int64_t result;
	} cases[] = {
		{0, 1, 1},
		{0, 64 * KIB, 64 * KIB},
		{1, 64 * KIB, 64 * KIB},
		{64 * KIB - 1, 2, 2},
		{64 * KIB, 128 * KIB, 128 * KIB},
		{7, 300 * KIB, 300 * KIB},
		{0, 512 * KIB, FILE_BYTES},
		{FILE_BYTES - 1, 100, 1},
		{FILE_BYTES, 100, 0},
		{FILE_BYTES + 12345, 100, 0},
		{5, 0, 0},
	};
	struct raw_shm buf;
	struct raw_ring ring;

	(void)state;
	buffer_make(&buf, 512 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0"), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct usrbio_cqe cqe;
		int slot;

		memset(buf.base, 0xee, buf.size);
		slot = raw_prep(&ring, &buf, 0, ino, cases[i].off, cases[i].len);
		raw_post(&ring);
		cqe = raw_wait(&ring);
		assert_int_equal(cqe.result, cases[i].result);
		assert_int_equal(cqe.index, slot);
		assert_int_equal(cqe.userdata, 1000 + slot);
		assert_bytes(buf.base, cases[i].off, (size_t)cqe.result);
		if ((size_t)cqe.result < buf.size)
			assert_int_equal(buf.base[cqe.result], 0xee);
	}
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

/* Queues `n` requests of 1 KiB at successive offsets. */
static void prep_many(struct raw_ring *ring, const struct raw_shm *buf, int n)
{
	for (int i = 0; i < n; i++)
		raw_prep(ring, buf, (uint64_t)i * KIB, ino, (uint64_t)i * KIB, KIB);
}

static void wait_many(struct raw_ring *ring, int n)
{
	while (n-- > 0)
		assert_int_equal(raw_wait(ring).result, KIB);
}

static void nothing_is_scanned_without_a_post(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;

	(void)state;
	buffer_make(&buf, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0"), 0);
	prep_many(&ring, &buf, 1);
	assert_true(raw_quiet(&ring));
	raw_post(&ring);
	wait_many(&ring, 1);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void a_positive_depth_waits_for_exactly_that_many(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;
	long batches = served_stat(&mount, NULL, "batches");

	(void)state;
	buffer_make(&buf, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 8, ".r4.t0"), 0);
	prep_many(&ring, &buf, 3);
	raw_post(&ring);
	assert_true(raw_quiet(&ring));
	prep_many(&ring, &buf, 3);
	raw_post(&ring);
	wait_many(&ring, 4);
	assert_true(raw_quiet(&ring));
	assert_int_equal(served_stat(&mount, NULL, "batches"), batches + 1);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void depth_zero_takes_all_that_is_queued_as_one_batch(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;
	long batches = served_stat(&mount, NULL, "batches");
	int posts;

	(void)state;
	buffer_make(&buf, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 8, ".r0.t0"), 0);
	prep_many(&ring, &buf, 7);
	raw_post(&ring);
	wait_many(&ring, 7);
	assert_int_equal(served_stat(&mount, NULL, "batches"), batches + 1);
	/* One post for the batch, and raw_wait() may have taken it. */
	sem_getvalue(ring.completed, &posts);
	assert_true(posts <= 1);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void a_negative_depth_takes_no_more_than_that_many(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;
	long batches = served_stat(&mount, NULL, "batches");

	(void)state;
	buffer_make(&buf, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 8, ".r-3.t0"), 0);
	prep_many(&ring, &buf, 7);
	raw_post(&ring);
	wait_many(&ring, 7);
	assert_int_equal(served_stat(&mount, NULL, "batches"), batches + 3);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void a_partial_batch_with_a_timeout_is_never_issued(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;

	(void)state;
	buffer_make(&buf, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 8, ".r-4.t1"), 0);
	prep_many(&ring, &buf, 3);
	raw_post(&ring);
	assert_true(raw_quiet(&ring));
	prep_many(&ring, &buf, 1);
	raw_post(&ring);
	wait_many(&ring, 4);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void a_ring_wraps_around_many_times(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;

	(void)state;
	buffer_make(&buf, 64 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 5, ".r1.t0"), 0);
	for (int round = 0; round < 50; round++) {
		prep_many(&ring, &buf, 1 + round % 5);
		raw_post(&ring);
		wait_many(&ring, 1 + round % 5);
		assert_bytes(buf.base, 0, KIB);
	}
	assert_int_equal(ring.header->sqe_tail, ring.header->sqe_head);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void each_priority_has_its_semaphore(void **state)
{
	static const char *const attributes[] = {".r1.ph.t0", ".r1.pl.t0", ".r1.pn", ".r1.p"};
	struct raw_shm buf;

	(void)state;
	buffer_make(&buf, 64 * KIB);
	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		struct raw_ring ring;

		assert_int_equal(raw_ring_make(&mount, &ring, 4, attributes[i]), 0);
		prep_many(&ring, &buf, 4);
		raw_post(&ring);
		wait_many(&ring, 4);
		raw_ring_drop(&mount, &ring);
	}
	buffer_drop(&buf);
}

static void requests_stay_inside_blocks(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;

	(void)state;
	raw_shm_make(&buf, 64 * KIB);
	assert_int_equal(raw_register(&mount, &buf, ".b32768"), 0);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0"), 0);
	raw_prep(&ring, &buf, 32 * KIB, ino, 0, 32 * KIB);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, 32 * KIB);
	assert_bytes(buf.base + 32 * KIB, 0, 32 * KIB);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void buffers_live_on_without_their_name(void **state)
{
	struct raw_shm buf;
	struct raw_ring ring;

	(void)state;
	buffer_make(&buf, 64 * KIB);
	unlink(buf.name);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0"), 0);
	unlink(ring.shm.name);
	prep_many(&ring, &buf, 2);
	raw_post(&ring);
	wait_many(&ring, 2);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void write_rings_write(void **state)
{
	char path[160];
	struct raw_shm buf;
	struct raw_ring ring;
	struct stat st;
	uint8_t back[100];
	int out;

	(void)state;
	snprintf(path, sizeof(path), "%s/written", mount.path);
	out = open(path, O_RDWR | O_CREAT, 0644);
	assert_true(out >= 0);
	assert_int_equal(fstat(out, &st), 0);
	buffer_make(&buf, 64 * KIB);
	memset(buf.base, 0x5a, 100);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".w1.t0"), 0);
	raw_prep(&ring, &buf, 0, st.st_ino, 50, 100);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, 100);
	close(out);
	snprintf(path, sizeof(path), "%s/written", mount.backing);
	out = open(path, O_RDONLY);
	assert_int_equal(pread(out, back, 100, 50), 100);
	assert_memory_equal(back, buf.base, 100);
	close(out);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

static void ioctls_tell_that_it_is_3fs(void **state)
{
	uint32_t magic = 0, version = 0, len = 0;
	char name[32];
	int dir = open(mount.path, O_RDONLY | O_DIRECTORY);

	(void)state;
	if (emulated())
		skip(); /* qemu passes no ioctl on that it does not know */
	for (int i = 0; i < 2; i++) {
		int which = i ? dir : fd;

		assert_int_equal(ioctl(which, USRBIO_IOC_MAGIC, &magic), 0);
		assert_int_equal(magic, USRBIO_MAGIC);
		assert_int_equal(ioctl(which, USRBIO_IOC_VERSION, &version), 0);
		assert_int_equal(version, 1);
		assert_int_equal(ioctl(which, USRBIO_IOC_MOUNT_PATH_LEN, &len), 0);
		assert_int_equal(len, strlen(mount.path));
		assert_int_equal(ioctl(which, USRBIO_IOC_MOUNT_NAME, name), 0);
		assert_string_equal(name, "local");
	}
	close(dir);
}

struct hardlink {
	ino_t parent;
	char name[255];
};

struct punchhole {
	int n;
	size_t flags, start[1000], end[1000];
};

static void ioctls_link_files_and_punch_holes(void **state)
{
	struct hardlink link = {.name = "linked"};
	static struct punchhole punch = {.n = 1, .start = {4 * KIB}, .end = {8 * KIB}};
	char path[160];
	uint8_t back[12 * KIB];
	struct stat st;
	int out;

	(void)state;
	if (emulated())
		skip(); /* qemu passes no ioctl on that it does not know */
	assert_int_equal(stat(mount.path, &st), 0);
	link.parent = st.st_ino;
	served_file(&mount, "to-link", 12 * KIB);
	snprintf(path, sizeof(path), "%s/to-link", mount.path);
	out = open(path, O_RDWR);
	assert_true(out >= 0);
	assert_int_equal(ioctl(out, _IOW('h', 12, struct hardlink), &link), 0);
	assert_int_equal(ioctl(out, _IOW('h', 12, struct hardlink), &link), -1);
	assert_int_equal(errno, EEXIST);
	link.name[2] = '/';
	assert_int_equal(ioctl(out, _IOW('h', 12, struct hardlink), &link), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ioctl(out, _IOW('h', 13, struct punchhole), &punch), 0);
	punch.n = 1001;
	assert_int_equal(ioctl(out, _IOW('h', 13, struct punchhole), &punch), -1);
	assert_int_equal(errno, EINVAL);
	close(out);
	/* What a directory fd has open in the daemon is no file. */
	punch.n = 1;
	out = open(mount.path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(ioctl(out, _IOW('h', 13, struct punchhole), &punch), -1);
	assert_int_equal(errno, ENOTTY);
	close(out);
	snprintf(path, sizeof(path), "%s/linked", mount.backing);
	out = open(path, O_RDONLY);
	assert_int_equal(pread(out, back, sizeof(back), 0), sizeof(back));
	assert_bytes(back, 0, 4 * KIB);
	assert_int_equal(back[4 * KIB], 0);
	assert_int_equal(back[8 * KIB - 1], 0);
	assert_bytes(back + 8 * KIB, 8 * KIB, 4 * KIB);
	close(out);
}

static void holes_are_zeros_inside_and_short_at_the_end(void **state)
{
	char path[160];
	struct raw_shm buf;
	struct raw_ring ring, strict;
	uint64_t sparse_ino;
	int out, sparse;

	(void)state;
	/* Chunks of 64 KiB: data, hole, data, hole. */
	snprintf(path, sizeof(path), "%s/sparse", mount.backing);
	out = open(path, O_RDWR | O_CREAT, 0644);
	assert_int_equal(pwrite(out, "a", 1, 64 * KIB - 1), 1);
	assert_int_equal(pwrite(out, "b", 1, 128 * KIB), 1);
	assert_int_equal(ftruncate(out, 256 * KIB), 0);
	close(out);
	sparse = raw_open(&mount, "sparse", &sparse_ino);
	buffer_make(&buf, 256 * KIB);
	assert_int_equal(raw_ring_make(&mount, &ring, 4, ".r1.t0"), 0);
	assert_int_equal(raw_ring_make(&mount, &strict, 4, ".r1.t0.f10"), 0);

	memset(buf.base, 0xee, buf.size);
	raw_prep(&ring, &buf, 0, sparse_ino, 0, 256 * KIB);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, 192 * KIB);
	for (int i = 64 * KIB; i < 128 * KIB; i++)
		assert_int_equal(buf.base[i], 0);
	raw_prep(&ring, &buf, 0, sparse_ino, 64 * KIB, 64 * KIB);
	raw_post(&ring);
	assert_int_equal(raw_wait(&ring).result, 0);
	raw_prep(&strict, &buf, 0, sparse_ino, 0, 192 * KIB);
	raw_post(&strict);
	assert_int_equal(raw_wait(&strict).result, -ENODATA);
	raw_prep(&strict, &buf, 0, sparse_ino, 0, 128 * KIB);
	raw_post(&strict);
	assert_int_equal(raw_wait(&strict).result, 64 * KIB);

	close(sparse);
	raw_ring_drop(&mount, &strict);
	raw_ring_drop(&mount, &ring);
	buffer_drop(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_deliver_the_bytes_of_any_range),
		cmocka_unit_test(nothing_is_scanned_without_a_post),
		cmocka_unit_test(a_positive_depth_waits_for_exactly_that_many),
		cmocka_unit_test(depth_zero_takes_all_that_is_queued_as_one_batch),
		cmocka_unit_test(a_negative_depth_takes_no_more_than_that_many),
		cmocka_unit_test(a_partial_batch_with_a_timeout_is_never_issued),
		cmocka_unit_test(a_ring_wraps_around_many_times),
		cmocka_unit_test(each_priority_has_its_semaphore),
		cmocka_unit_test(requests_stay_inside_blocks),
		cmocka_unit_test(buffers_live_on_without_their_name),
		cmocka_unit_test(write_rings_write),
		cmocka_unit_test(ioctls_tell_that_it_is_3fs),
		cmocka_unit_test(ioctls_link_files_and_punch_holes),
		cmocka_unit_test(holes_are_zeros_inside_and_short_at_the_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

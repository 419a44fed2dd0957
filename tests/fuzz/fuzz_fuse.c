/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client does to a mount of usrbiod's through the kernel: ioctls of any number with any payload on anything that
 * is open, and registrations of any name for any object. The kernel is honest: a name has no slash, and an ioctl as
 * many bytes as its number says.
 *
 * The properties hold throughout: each call is answered once, with no more than the caller has room for; a
 * registration is its owner's alone; all of them go when their owner closes the directory.
 *
 * Covers: usrbiod/fs/ioctl.c usrbiod/fs/registration.c usrbiod/fs/virt.c usrbiod/registry/iov.c usrbiod/registry/iovs.c
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emulated.h"
#include "fuzz.h"
#include "kernel.h"
#include "wire.h"

enum {
	USERS = 3,
	OPEN = 5, /* root, dir, file, the virtual directory, the directory of registrations */
	OTHER_USER = 1000,
	LINE_MAX_BYTES = 255,
	IOCTL_MAX = 16383, /* _IOC_SIZEMASK */
};

struct open_node {
	uint64_t node, handle;
	bool directory;
};

static struct open_node nodes[OPEN];

/* Two threads of one user, and another user. */
static const struct kernel_user users[USERS] = {{0, 100}, {0, 101}, {OTHER_USER, 200}};
/* Opened by each: what they registered goes when it is closed. */
static uint64_t registering[USERS];

static void open_all(void)
{
	static const char *const names[OPEN] = {"", "dir", "file", USRBIO_VIRT_DIR, "iovs"};

	kernel_daemon();
	for (int i = 0; i < OPEN; i++) {
		struct open_node *n = &nodes[i];

		n->directory = i != 2;
		n->node = i == 0 ? FUSE_ROOT_ID
				 : kernel_lookup(users[0], i == 4 ? nodes[3].node : FUSE_ROOT_ID, names[i]);
		n->handle = kernel_open(users[0], n->directory ? FUSE_OPENDIR : FUSE_OPEN, n->node);
	}
}

/* ------------------------------------------------------------------ ioctls */

static unsigned number_of_ioctl(struct fuzz_input *in)
{
	/* As in 3FS: the size of what is linked or punched is part of the number. */
	static const unsigned known[] = {
		USRBIO_IOC_MOUNT_NAME, USRBIO_IOC_MOUNT_PATH_LEN,      USRBIO_IOC_MAGIC,
		USRBIO_IOC_VERSION,    _IOC(_IOC_WRITE, 'h', 12, 264), _IOC(_IOC_WRITE, 'h', 13, 16016),
	};
	unsigned i = fuzz_choice(in, 8);

	return i < 6 ? known[i] : (unsigned)fuzz_number(in, 4);
}

static void step_ioctl(struct fuzz_input *in)
{
	static uint8_t payload[IOCTL_MAX + 1];
	struct kernel_user user = users[fuzz_choice(in, USERS)];
	unsigned which = fuzz_choice(in, OPEN + 1), cmd = number_of_ioctl(in);
	/* One past the last: a number that no lookup gave. */
	struct open_node n = which < OPEN ? nodes[which] : (struct open_node){.node = fuzz_number(in, 8)};
	struct fuse_ioctl_in args = {.fh = n.handle, .flags = n.directory ? FUSE_IOCTL_DIR : 0, .cmd = cmd};
	struct kernel_answer a;

	if (which == OPEN)
		args.flags = FUSE_IOCTL_DIR;
	args.in_size = _IOC_DIR(cmd) & _IOC_WRITE ? _IOC_SIZE(cmd) : 0;
	args.out_size = _IOC_DIR(cmd) & _IOC_READ ? _IOC_SIZE(cmd) : 0;
	memset(payload, 0, args.in_size);
	/* First the eight bytes of a node or a count, which may be a real one. */
	if (args.in_size >= 8) {
		unsigned parent = fuzz_choice(in, OPEN + 1);
		uint64_t value = parent < OPEN ? nodes[parent].node : fuzz_number(in, 2);

		memcpy(payload, &value, sizeof(value));
		for (size_t i = 8, left = fuzz_number(in, 1); i < args.in_size && left; i++, left--)
			payload[i] = (uint8_t)fuzz_number(in, 1);
	}
	a = kernel_ask(user, FUSE_IOCTL, n.node, &args, sizeof(args), payload, args.in_size);
	HOLDS(a.error ||
	      (a.size >= sizeof(struct fuse_ioctl_out) && a.size - sizeof(struct fuse_ioctl_out) <= args.out_size));
}

/* ------------------------------------------------------------------ registrations */

/* A name as the kernel lets it through; `@` is an id, so that most of what libFuzzer makes is near a key. */
static char *take_name(struct fuzz_input *in)
{
	static const char id[] = "00112233-4455-6677-8899-aabbccddeeff";
	char *line = fuzz_line(in), *name;

	if (asprintf(&name, "%s%s", line[0] == '@' ? id : "", line[0] == '@' ? line + 1 : line) < 0)
		name = NULL;
	free(line);
	HOLDS(name);
	for (char *p = name; *p; p++)
		if (*p == '/')
			*p = '_';
	if (strlen(name) > LINE_MAX_BYTES)
		name[LINE_MAX_BYTES] = '\0';
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		free(name);
		name = strdup("x");
	}
	return name;
}

/* What lies in /dev/shm while somebody registers it. */
static void make_object(const char *path, unsigned kind)
{
	/* More than there is memory for; but qemu takes some of its own for each page: 20 GiB for 1 TiB. */
	const off_t huge = (off_t)1 << (emulated() ? 33 : 40);
	const off_t sizes[] = {4096, USRBIO_RING_FIXED + 5 * USRBIO_SLOT_BYTES, 0, 100, huge, 3 << 20};
	int fd;

	if (kind == 7) {
		HOLDS(mkfifo(path, 0666) == 0);
		return;
	}
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, kind & 8 ? 0600 : 0666);
	HOLDS(fd >= 0 && ftruncate(fd, sizes[kind % 6]) == 0);
	if (kind & 16 && geteuid() == 0)
		HOLDS(fchmod(fd, 0666) == 0 && fchown(fd, OTHER_USER, OTHER_USER) == 0);
	close(fd);
}

/* Answers of a failure too: what was refused is not there. */
static void step_register(struct fuzz_input *in)
{
	struct kernel_user user = users[fuzz_choice(in, USERS)];
	unsigned kind = fuzz_choice(in, 32), dir = fuzz_choice(in, 8) ? 4 : 3;
	char *name = take_name(in), *target = fuzz_line(in), path[64];
	struct kernel_answer a;

	snprintf(path, sizeof(path), "/dev/shm/fuzz-%d-object", (int)getpid());
	make_object(path, kind);
	/* Other objects of this machine are left alone. */
	if (strncmp(target, "/dev/shm/", 9) == 0 && access(target, F_OK) == 0) {
		free(target);
		target = strdup("");
	}
	a = kernel_ask(user, FUSE_SYMLINK, nodes[dir].node, name, strlen(name) + 1, *target == '@' ? path : target,
		       *target == '@' ? strlen(path) + 1 : strlen(target) + 1);
	HOLDS(a.error || (dir == 4 && a.size == sizeof(struct fuse_entry_out)));
	unlink(path);
	free(target);
	free(name);
}

static void step_unregister(struct fuzz_input *in)
{
	struct kernel_user user = users[fuzz_choice(in, USERS)];
	unsigned dir = fuzz_choice(in, 8) ? 4 : 3;
	char *name = take_name(in);

	kernel_ask(user, FUSE_UNLINK, nodes[dir].node, name, strlen(name) + 1, NULL, 0);
	free(name);
}

/* Looks a name up, and at what it leads to. */
static void step_look(struct fuzz_input *in)
{
	struct kernel_user user = users[fuzz_choice(in, USERS)];
	const struct fuse_getattr_in attr = {0};
	char *name = take_name(in);
	struct kernel_answer a =
		kernel_ask(user, FUSE_LOOKUP, nodes[3 + fuzz_choice(in, 2)].node, name, strlen(name) + 1, NULL, 0);
	uint64_t node = fuzz_number(in, 2) + ((uint64_t)1 << 62);
	struct fuse_entry_out entry;

	if (a.error == 0) {
		memcpy(&entry, a.data, sizeof(entry));
		node = entry.nodeid;
		HOLDS(entry.attr.uid == user.uid || entry.attr.uid == 0);
	}
	kernel_ask(user, FUSE_GETATTR, node, &attr, sizeof(attr), NULL, 0);
	kernel_ask(user, FUSE_READLINK, node, NULL, 0, NULL, 0);
	free(name);
}

static void step_list(struct fuzz_input *in)
{
	struct kernel_user user = users[fuzz_choice(in, USERS)];
	const struct open_node *n = &nodes[3 + fuzz_choice(in, 2)];
	struct fuse_read_in args = {.fh = n->handle};
	struct kernel_answer a;

	args.size = (uint32_t)fuzz_number(in, 2);
	args.offset = fuzz_number(in, 2);
	a = kernel_ask(user, FUSE_READDIR, n->node, &args, sizeof(args), NULL, 0);
	HOLDS(a.size <= args.size);
}

/* What a thread registered goes. */
static void close_registering(int i)
{
	const struct fuse_release_in args = {.fh = registering[i]};

	kernel_ask(users[i], FUSE_RELEASEDIR, nodes[4].node, &args, sizeof(args), NULL, 0);
}

static void step_reopen(struct fuzz_input *in)
{
	int i = (int)fuzz_choice(in, USERS);

	close_registering(i);
	registering[i] = kernel_open(users[i], FUSE_OPENDIR, nodes[4].node);
}

/* What ioctls linked into directories. */
static void remove_links(void)
{
	static const char *const folders[] = {"", "/dir"};

	for (int i = 0; i < 2; i++) {
		char path[128];
		struct dirent *entry;
		DIR *dir;

		snprintf(path, sizeof(path), "%s%s", kernel_backing(), folders[i]);
		dir = opendir(path);
		HOLDS(dir);
		while ((entry = readdir(dir)))
			if (entry->d_type == DT_REG && (i == 1 || strcmp(entry->d_name, "file") != 0))
				unlinkat(dirfd(dir), entry->d_name, 0);
		closedir(dir);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const steps[])(struct fuzz_input * in) = {step_ioctl, step_register, step_unregister,
								step_look,  step_list,	   step_reopen};
	struct fuzz_input in = {data, data + size};
	const struct stats *stats = kernel_daemon()->fs.stats;

	if (!nodes[0].node)
		open_all();
	kernel_daemon()->fs.config.strict_keys = fuzz_choice(&in, 2);
	for (int i = 0; i < USERS; i++)
		registering[i] = kernel_open(users[i], FUSE_OPENDIR, nodes[4].node);
	while (in.at < in.end)
		steps[fuzz_choice(&in, sizeof(steps) / sizeof(steps[0]))](&in);
	for (int i = 0; i < USERS; i++)
		close_registering(i);
	HOLDS(stats->iovs == 0 && stats->rings == 0);
	remove_links();
	return 0;
}

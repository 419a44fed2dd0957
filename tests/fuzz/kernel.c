/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"
#include "ops.h"
#include "parts.h"

enum { MESSAGE_MAX = 1 << 20 };

static struct usrbiod daemon_parts;
static struct fuse_session *session;
static char backing[64];

/* The message that is being answered, and its answer. */
static uint64_t unique;
static int answers;
static uint8_t answer[MESSAGE_MAX];
static size_t answer_size;

static ssize_t take_answer(int fd, struct iovec *iov, int count, void *userdata)
{
	(void)fd;
	(void)userdata;
	answers++;
	answer_size = 0;
	for (int i = 0; i < count; i++) {
		HOLDS(iov[i].iov_len <= MESSAGE_MAX - answer_size);
		memcpy(answer + answer_size, iov[i].iov_base, iov[i].iov_len);
		answer_size += iov[i].iov_len;
	}
	return (ssize_t)answer_size;
}

static ssize_t no_message(int fd, void *buf, size_t size, void *userdata)
{
	(void)fd;
	(void)buf;
	(void)size;
	(void)userdata;
	return 0;
}

struct kernel_answer kernel_ask(struct kernel_user user, uint32_t opcode, uint64_t node, const void *args,
				size_t args_size, const void *payload, size_t payload_size)
{
	const size_t size = sizeof(struct fuse_in_header) + args_size + payload_size;
	const struct fuse_in_header header = {.len = (uint32_t)size,
					      .opcode = opcode,
					      .unique = ++unique,
					      .nodeid = node,
					      .uid = user.uid,
					      .pid = (uint32_t)user.pid};
	struct fuse_buf buf = {.size = size, .mem = malloc(size)};
	const struct fuse_out_header *out = (const struct fuse_out_header *)answer;
	uint8_t *at = buf.mem;

	HOLDS(at);
	memcpy(at, &header, sizeof(header));
	if (args_size)
		memcpy(at + sizeof(header), args, args_size);
	if (payload_size)
		memcpy(at + sizeof(header) + args_size, payload, payload_size);
	answers = 0;
	fuse_session_process_buf(session, &buf);
	free(buf.mem);
	HOLDS(answers == 1 && answer_size >= sizeof(*out) && out->len == answer_size && out->unique == unique);
	HOLDS(out->error <= 0 && out->error > -4096 && (out->error == 0 || answer_size == sizeof(*out)));
	return (struct kernel_answer){out->error, answer + sizeof(*out), answer_size - sizeof(*out)};
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st;
	(void)kind;
	(void)walk;
	return remove(path);
}

static void end_daemon(void)
{
	if (parts_stop(&daemon_parts))
		parts_free(&daemon_parts);
	fuse_session_destroy(session);
	nftw(backing, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_backing(void)
{
	int fd;

	snprintf(backing, sizeof(backing), "/dev/shm/fuzz-%d-XXXXXX", (int)getpid());
	HOLDS(mkdtemp(backing) && chmod(backing, 0777) == 0);
	fd = open(backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	HOLDS(fd >= 0 && mkdirat(fd, "dir", 0755) == 0);
	close(openat(fd, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	close(fd);
}

static void begin_session(void)
{
	static const struct fuse_custom_io io = {.read = no_message, .writev = take_answer};
	char *argv[] = {(char *)"usrbiod", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_init_in hello = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 1 << 17, .flags = FUSE_BIG_WRITES};

	session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), &daemon_parts);
	fuse_opt_free_args(&args);
	HOLDS(session);
	HOLDS(fuse_session_custom_io(session, &io, open("/dev/null", O_RDWR | O_CLOEXEC)) == 0);
	kernel_ask((struct kernel_user){0}, FUSE_INIT, 0, &hello, sizeof(hello), NULL, 0);
}

struct usrbiod *kernel_daemon(void)
{
	if (session)
		return &daemon_parts;
	make_backing();
	daemon_parts.options = (struct options){.cluster = "fuzz", .chunk_kb = 1024, .servers = 1, .workers = 4};
	snprintf(daemon_parts.fs.mountpoint, sizeof(daemon_parts.fs.mountpoint), "/mnt/fuzz");
	HOLDS(parts_start(&daemon_parts, open(backing, O_PATH | O_DIRECTORY | O_CLOEXEC)) == 0);
	begin_session();
	atexit(end_daemon);
	return &daemon_parts;
}

const char *kernel_backing(void)
{
	return backing;
}

uint64_t kernel_open(struct kernel_user user, uint32_t opcode, uint64_t node)
{
	const struct fuse_open_in in = {.flags = opcode == FUSE_OPEN ? O_RDWR : O_RDONLY};
	struct kernel_answer a = kernel_ask(user, opcode, node, &in, sizeof(in), NULL, 0);
	struct fuse_open_out out;

	HOLDS(a.error == 0 && a.size == sizeof(out));
	memcpy(&out, a.data, sizeof(out));
	return out.fh;
}

uint64_t kernel_lookup(struct kernel_user user, uint64_t parent, const char *name)
{
	struct kernel_answer a = kernel_ask(user, FUSE_LOOKUP, parent, name, strlen(name) + 1, NULL, 0);
	struct fuse_entry_out out;

	HOLDS(a.error == 0 && a.size == sizeof(out));
	memcpy(&out, a.data, sizeof(out));
	return out.nodeid;
}

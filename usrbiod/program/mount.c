/* SPDX-License-Identifier: Apache-2.0 */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "initflags.h"
#include "ops.h"
#include "usrbiod.h"
#include "wire.h"

enum {
	READAHEAD_KB = 1024,
};

static int explain(const char *mountpoint, int err)
{
	if (err == ENOTCONN)
		fprintf(stderr,
			"usrbiod: %s: a daemon that was killed has left its mount here; remove it with\n"
			"    fusermount3 -u -z '%s'\n",
			mountpoint, mountpoint);
	else
		fprintf(stderr, "usrbiod: %s: %s\n", mountpoint, strerror(err));
	return -err;
}

/* A walk through a mount that contains itself would have the daemon ask itself, until all its threads wait for one
 * another and nobody can be killed. A mount on the backing directory itself hides it, and contains nothing. */
static int refuse_itself(const struct usrbiod *d)
{
	char backing[PATH_MAX];
	size_t len;

	if (!realpath(d->options.backing, backing))
		return explain(d->options.backing, errno);
	len = strcmp(backing, "/") == 0 ? 0 : strlen(backing);
	if (strncmp(d->fs.mountpoint, backing, len) != 0 || d->fs.mountpoint[len] != '/')
		return 0;
	fprintf(stderr, "usrbiod: %s lies in %s, so that the mount would contain itself; take one outside\n",
		d->fs.mountpoint, backing);
	return -ELOOP;
}

int mount_check(struct usrbiod *d)
{
	char virt[PATH_MAX + sizeof(USRBIO_VIRT_DIR) + 1];
	struct statvfs fs;
	struct stat st;

	/* statvfs(), because that is never answered from what the kernel remembers of a daemon that is gone. */
	if (statvfs(d->options.mountpoint, &fs) || stat(d->options.mountpoint, &st) ||
	    !realpath(d->options.mountpoint, d->fs.mountpoint))
		return explain(d->options.mountpoint, errno);
	if (!S_ISDIR(st.st_mode))
		return explain(d->options.mountpoint, ENOTDIR);
	snprintf(virt, sizeof(virt), "%s/" USRBIO_VIRT_DIR, d->fs.mountpoint);
	if (lstat(virt, &st) == 0 && st.st_ino >= INODE_VIRTUAL) {
		fprintf(stderr, "usrbiod: %s: a 3FS is mounted here already\n", d->fs.mountpoint);
		return -EBUSY;
	}
	return refuse_itself(d);
}

/* mountinfo escapes some characters in octal. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		unsigned value;

		if (s[0] == '\\' && sscanf(s + 1, "%3o", &value) == 1) {
			*to++ = (char)value;
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* Of the mount itself, without asking it anything: it cannot answer before it is initialised. */
static int mount_device(const char *mountpoint, unsigned *major_no, unsigned *minor_no)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX], path[PATH_MAX];
	int rc = -ENOENT;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		unsigned maj, min;

		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, path) != 3)
			continue;
		unescape(path);
		if (strcmp(path, mountpoint))
			continue;
		*major_no = maj;
		*minor_no = min;
		rc = 0;
	}
	fclose(f);
	return rc;
}

/* Lets the kernel read ahead as much as one request can carry; without the rights for that, it stays as it is. */
static void set_readahead(const char *mountpoint)
{
	unsigned major_no = 0, minor_no = 0;
	char path[80];
	FILE *f;

	if (mount_device(mountpoint, &major_no, &minor_no))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major_no, minor_no);
	f = fopen(path, "we");
	if (!f)
		return;
	fprintf(f, "%d\n", READAHEAD_KB);
	fclose(f);
}

/* The mount works: lets the waiting parent return, and lets go of the terminal. */
static void tell_parent(struct usrbiod *d)
{
	int null_fd;

	if (d->ready_fd < 0)
		return;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2 && null_fd >= 0; fd++)
		dup2(null_fd, fd);
	if (null_fd > 2)
		close(null_fd);
	/* The parent is gone, so nobody knows of this daemon: it ends as if asked to, which unmounts. */
	if (write(d->ready_fd, "", 1) != 1)
		kill(getpid(), SIGTERM);
	close(d->ready_fd);
	d->ready_fd = -1;
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct usrbiod *d = userdata;

	conn->want |= conn->capable & (FUSE_CAP_IOCTL_DIR | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
	conn->want &= ~(unsigned)FUSE_CAP_SPLICE_READ;
	/* The kernel's default of 12 reads at a time is below what the simulated link needs to be full. */
	conn->max_background = 512;
	conn->congestion_threshold = 512;
	conn->max_readahead = READAHEAD_KB * 1024;
	set_readahead(d->fs.mountpoint);
	tell_parent(d);
}

struct fuse_session *mount_session(struct usrbiod *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = fs_ops;
	struct fuse_session *se = NULL;
	char options[160];

	ops.init = on_init;
	/* Others than root may allow others only where /etc/fuse.conf says so. A read-only mount is not so to the
	 * kernel, because clients register by symlink there, too. */
	snprintf(options, sizeof(options), "-osubtype=hf3fs,fsname=hf3fs.%s,default_permissions%s", d->options.cluster,
		 geteuid() == 0 ? ",allow_other" : "");
	if (fuse_opt_add_arg(&args, "usrbiod") == 0 && fuse_opt_add_arg(&args, options) == 0)
		se = fuse_session_new(&args, &ops, sizeof(ops), &d->fs);
	fuse_opt_free_args(&args);
	if (!se)
		return NULL;
	if (fuse_session_mount(se, d->fs.mountpoint) == 0) {
		if (initflags_attach(se) == 0)
			return se;
		fuse_session_unmount(se);
	}
	fuse_session_destroy(se);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mount.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "usrbio.h"
#include "wire.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Undoes the kernel's \ooo in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* Cuts a line of mountinfo apart: mount point is the fifth field, the type the first after a lone "-". */
static bool split_line(char *line, char **point, char **type)
{
	char *save, *field = strtok_r(line, " \n", &save);
	int n = 1;

	*point = NULL;
	for (; field && strcmp(field, "-") != 0; field = strtok_r(NULL, " \n", &save))
		if (n++ == 5)
			*point = field;
	if (!field || !*point)
		return false;
	*type = strtok_r(NULL, " \n", &save);
	if (!*type)
		return false;
	unescape(*point);
	return true;
}

/* A mount of the virtual directory itself (a container given that and some data directories) stands for its parent. */
static bool cut_virt_dir(char *point)
{
	char *last = strrchr(point, '/');

	if (!last || strcmp(last + 1, USRBIO_VIRT_DIR) != 0)
		return false;
	last[last == point] = '\0';
	return true;
}

/* Is `path` the directory `point` or below it? By whole components: /mnt/3fs2 is not below /mnt/3fs. */
static bool is_below(const char *path, const char *point)
{
	size_t len = strlen(point);

	if (strcmp(point, "/") == 0)
		return path[0] == '/';
	return strncmp(path, point, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* Is `path` on the mount that a line speaks of, and that one of 3FS? 1 and the mount point in `*point`, 0, or a
 * negative errno. */
static int match_line(char *line, const char *path, const struct usrbio_mount_rule *rule, char **point)
{
	char *type;
	bool is_virt;

	if (!split_line(line, point, &type) || (!rule->any_type && strcmp(type, USRBIO_FSTYPE) != 0))
		return 0;
	is_virt = cut_virt_dir(*point);
	if (!is_below(path, *point))
		return 0;
	return is_virt ? 1 : rule->has_virt(*point, rule->ctx);
}

/* Puts `point` in the place of `*best` if it is longer. */
static int keep_longest(const char *point, char **best)
{
	char *copy;

	if (*best && strlen(point) <= strlen(*best))
		return 0;
	copy = strdup(point);
	if (!copy)
		return -ENOMEM;
	free(*best);
	*best = copy;
	return 0;
}

int usrbio_mountinfo_find(FILE *mountinfo, const char *path, const struct usrbio_mount_rule *rule, char **out)
{
	char *line = NULL, *best = NULL, *point;
	size_t room = 0;
	int rc = 0;

	while (rc >= 0 && getline(&line, &room, mountinfo) > 0) {
		rc = match_line(line, path, rule, &point);
		if (rc > 0)
			rc = keep_longest(point, &best);
	}
	/* Half of it would say that a file is not on 3FS. */
	if (rc >= 0 && !feof(mountinfo))
		rc = -errno;
	free(line);
	if (rc < 0) {
		free(best);
		best = NULL;
	}
	*out = best;
	return rc < 0 ? rc : best != NULL;
}

static int virt_dir_exists(const char *mount, void *ctx)
{
	char *path;
	int rc;

	(void)ctx;
	if (asprintf(&path, "%s/" USRBIO_VIRT_DIR, mount) < 0)
		return -ENOMEM;
	rc = access(path, F_OK) == 0 ? 1 : errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	free(path);
	return rc;
}

/* The canonical form of `path`, or of its nearest ancestor that exists. A string for free(), or NULL with errno. */
static char *canonical(const char *path)
{
	char *real = realpath(path, NULL);
	char *part, *last;

	if (real || (errno != ENOENT && errno != ENOTDIR))
		return real;
	part = strdup(path);
	while (part && !real && (errno == ENOENT || errno == ENOTDIR)) {
		last = strrchr(part, '/');
		if (last)
			*last = '\0';
		real = realpath(!last ? "." : part[0] ? part : "/", NULL);
		if (!last)
			break;
	}
	free(part);
	return real;
}

static int find(const char *path, char **out)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): as safe as every program that reads its environment */
	const char *loose = getenv("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP");
	struct usrbio_mount_rule rule = {
		.any_type = loose && strcmp(loose, "yes") == 0,
		.has_virt = virt_dir_exists,
	};
	FILE *mountinfo;
	char *real;
	int rc;

	*out = NULL;
	if (!path[0])
		return 0;
	real = canonical(path);
	if (!real)
		return -errno;
	mountinfo = fopen("/proc/self/mountinfo", "re");
	rc = mountinfo ? usrbio_mountinfo_find(mountinfo, real, &rule, out) : -errno;
	if (mountinfo)
		fclose(mountinfo);
	free(real);
	return rc;
}

int usrbio_mount_of(const char *path, char *buf, size_t size)
{
	char *mount;
	int rc = find(path, &mount);

	if (size)
		buf[0] = '\0';
	if (mount && (size_t)snprintf(buf, size, "%s", mount) >= size) {
		rc = -ERANGE;
		if (size)
			buf[0] = '\0';
	}
	free(mount);
	return rc;
}

int usrbio_fd_is_3fs(int fd)
{
	uint32_t magic = 0;

	if (ioctl(fd, USRBIO_IOC_MAGIC, &magic) == 0)
		return magic == USRBIO_MAGIC;
	/* What file systems say that do not know the question. */
	return errno == ENOTTY || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
}

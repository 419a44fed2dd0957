/* SPDX-License-Identifier: Apache-2.0 */
/* Which files a checkpoint has: those given, or what a directory or an index says. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint_i.h"
#include "offload.h"
#include "pread.h"
#include "reader_i.h"

#define INDEX_NAME "model.safetensors.index.json"
#define SUFFIX ".safetensors"
#define INDEX_SUFFIX ".json"

static int no_memory(struct fst3fs_error *err)
{
	return fst3fs_err_set(err, -ENOMEM, "no memory for a list of files");
}

static int failed(struct fst3fs_error *err, int code, const char *path)
{
	fst3fs_err_set(err, code, "%s", fst3fs_strerror(code));
	fst3fs_err_set_path(err, path);
	return code;
}

static bool ends_with(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);

	return a > b && strcmp(text + a - b, end) == 0;
}

/* Takes `path`, which is from malloc or NULL: no memory. */
static int add_path(struct fst3fs_found *f, char *path, struct fst3fs_error *err)
{
	char **grown = path ? realloc(f->paths, (f->count + 1) * sizeof(char *)) : NULL;

	if (!grown) {
		free(path);
		return no_memory(err);
	}
	f->paths = grown;
	f->paths[f->count++] = path;
	return 0;
}

static char *join(const char *folder, size_t bytes, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%.*s%s%s", (int)bytes, folder, bytes && folder[bytes - 1] != '/' ? "/" : "", name) < 0
		       ? NULL
		       : path;
}

/* ------------------------------------------------------------------ an index */

/* All bytes of a small file, from malloc, in `out`. */
static int64_t slurp(const char *path, char **out, struct fst3fs_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st = {0};
	int64_t n = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

	*out = NULL;
	if (n == 0 && st.st_size > SAFETENSORS_MAX_JSON_BYTES) {
		n = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					"an index of %lld bytes, over the limit of %d", (long long)st.st_size,
					SAFETENSORS_MAX_JSON_BYTES);
		fst3fs_err_set_path(err, path);
	}
	if (n == 0)
		*out = malloc((size_t)st.st_size + 1);
	if (n == 0)
		n = *out ? fst3fs_pread_fully(fd, *out, (size_t)st.st_size, 0) : -ENOMEM;
	if (fd >= 0)
		close(fd);
	return n < 0 ? failed(err, (int)n, path) : n;
}

/* The files that the index at `path` names, which lie beside it. */
static int use_index(const char *path, struct fst3fs_found *f, struct fst3fs_error *err)
{
	const char *slash = strrchr(path, '/');
	char *json;
	int64_t bytes = slurp(path, &json, err);
	int rc = bytes < 0 ? (int)bytes : safetensors_index_parse(json, (size_t)bytes, &f->index, err);

	free(json);
	fst3fs_err_set_path(err, path);
	for (size_t i = 0; rc == 0 && i < safetensors_index_file_count(f->index); i++)
		rc = add_path(
			f, join(path, slash ? (size_t)(slash - path) + 1 : 0, safetensors_index_file_at(f->index, i)),
			err);
	return rc;
}

/* ------------------------------------------------------------------ a directory */

static int wanted(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && ends_with(entry->d_name, SUFFIX);
}

static int use_directory(const char *path, struct fst3fs_found *f, struct fst3fs_error *err)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, wanted, alphasort), rc = n < 0 ? failed(err, -errno, path) : 0;

	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = add_path(f, join(path, strlen(path), entries[i]->d_name), err);
		free(entries[i]);
	}
	free(entries);
	if (rc == 0 && n == 0) {
		rc = fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL,
					 "a directory with neither " INDEX_NAME " nor files *" SUFFIX);
		fst3fs_err_set_path(err, path);
	}
	return rc;
}

static int use_one(const char *path, struct fst3fs_found *f, struct fst3fs_error *err)
{
	bool indexed = ends_with(path, INDEX_SUFFIX);
	struct stat st;

	if (stat(path, &st) != 0)
		return failed(err, -errno, path);
	f->index_path = S_ISDIR(st.st_mode) ? join(path, strlen(path), INDEX_NAME) : strdup(path);
	if (!f->index_path)
		return no_memory(err);
	if (S_ISDIR(st.st_mode)) {
		indexed = access(f->index_path, F_OK) == 0;
		/* Without its index a directory may be another checkpoint. */
		if (!indexed && errno != ENOENT)
			return failed(err, -errno, f->index_path);
	}
	if (indexed)
		return use_index(f->index_path, f, err);
	return S_ISDIR(st.st_mode) ? use_directory(path, f, err) : add_path(f, strdup(path), err);
}

/* ------------------------------------------------------------------ on a thread, because the mount may hang */

struct finding {
	struct fst3fs_offload offload;
	struct fst3fs_found found;
	char path[];
};

static void find(struct fst3fs_offload *a)
{
	struct finding *finding = (struct finding *)a;

	a->rc = use_one(finding->path, &finding->found, &a->err);
}

static void forget(struct fst3fs_offload *a)
{
	fst3fs_found_fini(&((struct finding *)a)->found);
	free(a);
}

static int find_within_timeout(struct fst3fs_reader *r, const char *path, struct fst3fs_found *out,
			       struct fst3fs_error *err)
{
	struct finding *finding = calloc(1, sizeof(*finding) + strlen(path) + 1);
	struct fst3fs_offload *a;
	int rc;

	if (!finding)
		return no_memory(err);
	a = &finding->offload;
	a->run = find;
	a->undo = forget;
	memcpy(finding->path, path, strlen(path) + 1);
	rc = fst3fs_offload_run(&r->engine, &a, err);
	if (!a) {
		fst3fs_err_set_path(err, path);
		return rc;
	}
	*out = finding->found;
	free(finding);
	return rc;
}

int fst3fs_find_files(struct fst3fs_reader *r, const char *const *paths, size_t n, struct fst3fs_found *out,
		      struct fst3fs_error *err)
{
	int rc = 0;

	if (n == 1)
		return find_within_timeout(r, paths[0], out, err);
	if (n == 0)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_VALUE, -EINVAL, "a checkpoint of no files");
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_path(out, strdup(paths[i]), err);
	return rc;
}

void fst3fs_found_fini(struct fst3fs_found *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->paths[i]);
	free(f->paths);
	safetensors_index_free(f->index);
	free(f->index_path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of Reader that take many files at a time. */
#include "py_core.h"

#include <limits.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ read_many */

/* Requests for the library, and the bytes objects that own their paths. */
struct ranges {
	struct fst3fs_request *requests;
	PyObject *paths; /* list */
};

static void ranges_fini(struct ranges *r)
{
	free(r->requests);
	Py_XDECREF(r->paths);
}

static int range_parse(struct fst3fs_request *out, PyObject *item, PyObject *paths)
{
	PyObject *path = NULL, *dst, *offset, *length, *tuple;
	int rc = -1;

	tuple = PySequence_Tuple(item);
	if (!tuple)
		return -1;
	if (PyArg_ParseTuple(tuple, "O&OOO;a request is (path, dev_ptr, file_offset, total_length)",
			     PyUnicode_FSConverter, &path, &dst, &offset, &length) &&
	    py_address(dst, path, &out->dst) == 0 &&
	    py_int64(offset, "file_offset", path, 0, INT64_MAX, &out->offset) == 0 &&
	    py_int64(length, "total_length", path, 0, INT64_MAX, &out->length) == 0 &&
	    PyList_Append(paths, path) == 0) {
		out->path = PyBytes_AsString(path);
		rc = 0;
	}
	Py_XDECREF(path);
	Py_DECREF(tuple);
	return rc;
}

static int ranges_parse(struct ranges *r, PyObject *list, Py_ssize_t n)
{
	r->requests = calloc((size_t)n + 1, sizeof(*r->requests));
	if (!r->requests) {
		PyErr_NoMemory();
		return -1;
	}
	r->paths = PyList_New(0);
	if (!r->paths)
		return -1;
	for (Py_ssize_t i = 0; i < n; i++)
		if (range_parse(&r->requests[i], PyList_GetItem(list, i), r->paths) < 0)
			return -1;
	return 0;
}

static PyObject *ranges_results(const struct ranges *r, Py_ssize_t n)
{
	PyObject *list = PyList_New(n);

	for (Py_ssize_t i = 0; list && i < n; i++) {
		PyObject *number = PyLong_FromLongLong(r->requests[i].result);

		if (!number || PyList_SetItem(list, i, number) < 0) {
			Py_DECREF(list);
			list = NULL;
		}
	}
	return list;
}

PyObject *py_reader_read_many(PyObject *object, PyObject *args)
{
	struct py_reader *self = (struct py_reader *)object;
	PyObject *given, *chunk, *list, *result = NULL;
	struct ranges ranges = {NULL, NULL};
	struct fst3fs_error err;
	unsigned int flags;
	int64_t chunk_size;
	Py_ssize_t n;
	int rc;

	if (!PyArg_ParseTuple(args, "OOI:read_many", &given, &chunk, &flags) ||
	    py_int64(chunk, "chunk_size", NULL, 0, INT64_MAX, &chunk_size) < 0)
		return NULL;
	list = PySequence_List(given);
	if (!list)
		return NULL;
	n = PyList_Size(list);
	if (ranges_parse(&ranges, list, n) < 0)
		goto out;
	py_call_begin();
	rc = fst3fs_read_many(self->reader, ranges.requests, (size_t)n, chunk_size, flags, &err);
	py_call_end();
	if (rc < 0)
		py_raise(&err);
	else if (!PyErr_Occurred())
		result = ranges_results(&ranges, n);
out:
	ranges_fini(&ranges);
	Py_DECREF(list);
	return result;
}

/* ------------------------------------------------------------------ read_headers */

/* Paths for the library, borrowed from `owners`, a list of bytes objects. */
static int paths_parse(PyObject *given, PyObject **owners, const char ***paths)
{
	PyObject *list = PySequence_List(given);
	Py_ssize_t n;

	if (!list)
		return -1;
	*owners = list;
	n = PyList_Size(list);
	*paths = calloc((size_t)n + 1, sizeof(**paths));
	if (!*paths) {
		PyErr_NoMemory();
		return -1;
	}
	for (Py_ssize_t i = 0; i < n; i++) {
		PyObject *path = NULL;

		if (!PyUnicode_FSConverter(PyList_GetItem(list, i), &path) || PyList_SetItem(list, i, path) < 0)
			return -1;
		(*paths)[i] = PyBytes_AsString(path);
	}
	return 0;
}

static PyObject *headers_result(const struct fst3fs_header *headers, Py_ssize_t n)
{
	PyObject *list = PyList_New(n);

	for (Py_ssize_t i = 0; list && i < n; i++) {
		const struct fst3fs_header *h = &headers[i];
		PyObject *json = PyUnicode_DecodeUTF8(h->json, (Py_ssize_t)h->length - 8, "strict");
		PyObject *item = json ? Py_BuildValue("(NKK)", json, (unsigned long long)h->length,
						      (unsigned long long)h->file_size)
				      : NULL;

		if (!item || PyList_SetItem(list, i, item) < 0) {
			Py_DECREF(list);
			list = NULL;
		}
	}
	return list;
}

PyObject *py_reader_read_headers(PyObject *object, PyObject *args)
{
	struct py_reader *self = (struct py_reader *)object;
	PyObject *given, *number, *owners = NULL, *result = NULL;
	struct fst3fs_header *headers = NULL;
	const char **paths = NULL;
	struct fst3fs_error err;
	int64_t threads;
	Py_ssize_t n;
	int rc;

	if (!PyArg_ParseTuple(args, "OO:read_headers", &given, &number) ||
	    py_int64(number, "num_threads", NULL, 1, INT_MAX, &threads) < 0 || paths_parse(given, &owners, &paths) < 0)
		goto out;
	n = PyList_Size(owners);
	headers = calloc((size_t)n + 1, sizeof(*headers));
	if (!headers) {
		PyErr_NoMemory();
		goto out;
	}
	py_call_begin();
	rc = fst3fs_read_headers(self->reader, paths, (size_t)n, (int)threads, headers, &err);
	py_call_end();
	if (rc < 0)
		py_raise(&err);
	else if (!PyErr_Occurred())
		result = headers_result(headers, n);
	fst3fs_headers_free(headers, (size_t)n);
out:
	free(headers);
	free(paths);
	Py_XDECREF(owners);
	return result;
}

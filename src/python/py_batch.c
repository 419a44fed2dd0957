/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of Reader that take many files at a time. */
#include "py_core.h"

#include <limits.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ read_many */

static PyObject *ranges_results(const struct py_ranges *r)
{
	Py_ssize_t n = r->count;
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
	PyObject *given, *chunk, *result = NULL;
	struct py_ranges ranges = {0};
	struct fst3fs_error err;
	unsigned int flags;
	int64_t chunk_size;
	int rc;

	if (!PyArg_ParseTuple(args, "OOI:read_many", &given, &chunk, &flags) ||
	    py_int64(chunk, "chunk_size", NULL, 0, INT64_MAX, &chunk_size) < 0 || py_ranges_parse(&ranges, given) < 0)
		goto out;
	py_call_begin();
	rc = fst3fs_read_many(self->reader, ranges.requests, (size_t)ranges.count, chunk_size, flags, &err);
	py_call_end();
	if (rc < 0)
		py_raise(&err);
	else if (!PyErr_Occurred())
		result = ranges_results(&ranges);
out:
	py_ranges_fini(&ranges);
	return result;
}

/* ------------------------------------------------------------------ read_headers */

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
	    py_int64(number, "num_threads", NULL, 1, INT_MAX, &threads) < 0 ||
	    py_paths_parse(given, &owners, &paths) < 0)
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
	PyMem_Free(paths);
	Py_XDECREF(owners);
	return result;
}

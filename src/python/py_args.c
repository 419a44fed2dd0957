/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

/* ValueError "file: name must be ..., not value". Returns -1. */
static int refuse(PyObject *value, const char *name, PyObject *file, const char *range)
{
	PyObject *path;

	if (!file) {
		PyErr_Format(PyExc_ValueError, "%s must be %s, not %S", name, range, value);
		return -1;
	}
	path = PyUnicode_DecodeFSDefault(PyBytes_AsString(file));
	if (!path)
		return -1;
	PyErr_Format(PyExc_ValueError, "%U: %s must be %s, not %S", path, name, range, value);
	Py_DECREF(path);
	return -1;
}

int py_int64(PyObject *value, const char *name, PyObject *file, int64_t lo, int64_t hi, int64_t *out)
{
	PyObject *number = PyNumber_Index(value);
	char range[64];
	long long got;
	int overflow;

	if (!number)
		return -1;
	got = PyLong_AsLongLongAndOverflow(number, &overflow);
	Py_DECREF(number);
	if (got == -1 && PyErr_Occurred())
		return -1;
	if (overflow || got < lo || got > hi) {
		PyOS_snprintf(range, sizeof(range), "%lld to %lld", (long long)lo, (long long)hi);
		return refuse(value, name, file, range);
	}
	*out = got;
	return 0;
}

int py_address(PyObject *value, PyObject *file, uint64_t *out)
{
	PyObject *number = PyNumber_Index(value);
	unsigned long long got;

	if (!number)
		return -1;
	got = PyLong_AsUnsignedLongLong(number);
	Py_DECREF(number);
	if (got == (unsigned long long)-1 && PyErr_Occurred()) {
		if (!PyErr_ExceptionMatches(PyExc_OverflowError))
			return -1;
		PyErr_Clear();
		return refuse(value, "dev_ptr", file, "an address of 64 bits");
	}
	*out = got;
	return 0;
}

void py_ranges_fini(struct py_ranges *r)
{
	PyMem_Free(r->requests);
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

int py_ranges_parse(struct py_ranges *r, PyObject *given)
{
	PyObject *list = PySequence_List(given);
	int rc = list ? 0 : -1;

	if (!list)
		return -1;
	r->count = PyList_Size(list);
	r->requests = PyMem_Calloc((size_t)r->count + 1, sizeof(*r->requests));
	r->paths = PyList_New(0);
	if (!r->requests || !r->paths) {
		PyErr_NoMemory();
		rc = -1;
	}
	for (Py_ssize_t i = 0; rc == 0 && i < r->count; i++)
		rc = range_parse(&r->requests[i], PyList_GetItem(list, i), r->paths);
	Py_DECREF(list);
	return rc;
}

int py_paths_parse(PyObject *given, PyObject **owners, const char ***paths)
{
	PyObject *list = PySequence_List(given);
	Py_ssize_t n;

	if (!list)
		return -1;
	*owners = list;
	n = PyList_Size(list);
	*paths = PyMem_Calloc((size_t)n + 1, sizeof(**paths));
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

Py_ssize_t py_numbers_parse(PyObject *given, size_t **numbers)
{
	PyObject *list;
	Py_ssize_t n;

	*numbers = NULL;
	if (given == Py_None)
		return 0;
	list = PySequence_List(given);
	n = list ? PyList_Size(list) : -1;
	if (n >= 0)
		*numbers = PyMem_Malloc(((size_t)n + 1) * sizeof(**numbers));
	if (n >= 0 && !*numbers) {
		PyErr_NoMemory();
		n = -1;
	}
	for (Py_ssize_t i = 0; i < n; i++) {
		int64_t number;

		if (py_int64(PyList_GetItem(list, i), "number of a tensor", NULL, 0, PY_SSIZE_T_MAX, &number) < 0)
			n = -1;
		else
			(*numbers)[i] = (size_t)number;
	}
	Py_XDECREF(list);
	return n;
}

PyObject *py_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)type;
	(void)args;
	(void)kwargs;
	PyErr_SetString(PyExc_TypeError, "it is made by a method of Reader");
	return NULL;
}

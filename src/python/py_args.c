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

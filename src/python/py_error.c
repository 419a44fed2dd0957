/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

/* "path: text", or the text alone. A new reference. */
static PyObject *message(PyObject *path, PyObject *text)
{
	if (PyUnicode_GetLength(path) == 0) {
		Py_INCREF(text);
		return text;
	}
	return PyUnicode_FromFormat("%U: %U", path, text);
}

/* OSError picks the subclass for the errno itself. */
static PyObject *system_error(const struct fst3fs_error *err, PyObject *path, PyObject *text)
{
	if (PyUnicode_GetLength(path) == 0)
		return PyObject_CallFunction(PyExc_OSError, "iO", -err->code, text);
	return PyObject_CallFunction(PyExc_OSError, "iOO", -err->code, text, path);
}

static PyObject *new_exception(const struct fst3fs_error *err, PyObject *path, PyObject *text)
{
	PyObject *type = err->kind == FST3FS_ERROR_VALUE ? PyExc_ValueError : PyExc_RuntimeError;
	PyObject *line, *exception;

	if (err->kind == FST3FS_ERROR_SYSTEM)
		return system_error(err, path, text);
	line = message(path, text);
	if (!line)
		return NULL;
	exception = PyObject_CallFunction(type, "O", line);
	Py_DECREF(line);
	return exception;
}

/* Which entry of a batch failed, as the attribute `index`. */
static int set_index(PyObject *exception, int64_t index)
{
	PyObject *number;
	int rc;

	if (index < 0)
		return 0;
	number = PyLong_FromLongLong(index);
	if (!number)
		return -1;
	rc = PyObject_SetAttrString(exception, "index", number);
	Py_DECREF(number);
	return rc;
}

PyObject *py_raise(const struct fst3fs_error *err)
{
	PyObject *path = NULL, *text = NULL, *exception = NULL;

	if (PyErr_Occurred())
		return NULL;
	path = PyUnicode_DecodeFSDefault(err->path);
	/* The text may quote names, and is cut at a length in bytes. */
	text = PyUnicode_DecodeUTF8(err->text, (Py_ssize_t)strlen(err->text), "replace");
	if (path && text)
		exception = new_exception(err, path, text);
	if (exception && set_index(exception, err->index) == 0)
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	Py_XDECREF(exception);
	Py_XDECREF(text);
	Py_XDECREF(path);
	return NULL;
}

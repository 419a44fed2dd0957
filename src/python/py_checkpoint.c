/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoint: the tensors of many files. */
#include <errno.h>
#include <string.h>

#include "py_core.h"

PyObject *py_reader_checkpoint(PyObject *object, PyObject *given)
{
	struct py_reader *self = (struct py_reader *)object;
	struct fst3fs_checkpoint *checkpoint = NULL;
	PyObject *owners = NULL, *type = NULL;
	struct py_checkpoint *result = NULL;
	const char **paths = NULL;
	struct fst3fs_error err;
	int rc;

	if (py_paths_parse(given, &owners, &paths) < 0)
		goto out;
	type = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_Checkpoint");
	result = type ? (struct py_checkpoint *)PyType_GenericAlloc((PyTypeObject *)type, 0) : NULL;
	if (!result)
		goto out;
	py_call_begin();
	rc = fst3fs_checkpoint_open(self->reader, paths, (size_t)PyList_Size(owners), &checkpoint, &err);
	py_call_end();
	result->checkpoint = checkpoint;
	if (rc < 0)
		py_raise(&err);
	if (PyErr_Occurred())
		Py_CLEAR(result);
out:
	Py_XDECREF(type);
	PyMem_Free(paths);
	Py_XDECREF(owners);
	return (PyObject *)result;
}

static void checkpoint_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	fst3fs_checkpoint_free(((struct py_checkpoint *)object)->checkpoint);
	release(object);
	Py_DECREF(type);
}

static PyObject *shape_of(const struct fst3fs_tensor *t)
{
	PyObject *shape = PyTuple_New((Py_ssize_t)t->rank);

	for (unsigned i = 0; shape && i < t->rank; i++) {
		PyObject *number = PyLong_FromUnsignedLongLong(t->shape[i]);

		if (!number || PyTuple_SetItem(shape, (Py_ssize_t)i, number) < 0)
			Py_CLEAR(shape);
	}
	return shape;
}

static PyObject *tensor_of(const struct fst3fs_tensor *t)
{
	PyObject *shape = shape_of(t);

	return shape ? Py_BuildValue("(ssNnKK)", t->name, t->dtype, shape, (Py_ssize_t)t->file,
				     (unsigned long long)t->offset, (unsigned long long)t->length)
		     : NULL;
}

static PyObject *checkpoint_tensor(PyObject *object, PyObject *value)
{
	const struct fst3fs_checkpoint *c = ((struct py_checkpoint *)object)->checkpoint;
	struct fst3fs_tensor t;
	int64_t number;

	if (py_int64(value, "number of a tensor", NULL, 0, (int64_t)fst3fs_checkpoint_count(c) - 1, &number) < 0)
		return NULL;
	fst3fs_checkpoint_tensor(c, (size_t)number, &t);
	return tensor_of(&t);
}

static PyObject *checkpoint_names(PyObject *object, PyObject *unused)
{
	const struct fst3fs_checkpoint *c = ((struct py_checkpoint *)object)->checkpoint;
	Py_ssize_t n = (Py_ssize_t)fst3fs_checkpoint_count(c);
	PyObject *list = PyList_New(n);
	struct fst3fs_tensor t;

	(void)unused;
	for (Py_ssize_t i = 0; list && i < n; i++) {
		PyObject *name;

		fst3fs_checkpoint_tensor(c, (size_t)i, &t);
		name = PyUnicode_FromString(t.name);
		if (!name || PyList_SetItem(list, i, name) < 0)
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *checkpoint_find(PyObject *object, PyObject *value)
{
	const struct fst3fs_checkpoint *c = ((struct py_checkpoint *)object)->checkpoint;
	PyObject *name = PyUnicode_Check(value) ? PyUnicode_AsUTF8String(value) : NULL;
	int64_t number;

	if (!PyUnicode_Check(value))
		return PyErr_Format(PyExc_TypeError, "a tensor's name is a string, not %R", value);
	/* No tensor has a surrogate or a NUL in its name. */
	if (!name && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
		PyErr_Clear();
		Py_RETURN_NONE;
	}
	if (!name)
		return NULL;
	number = strlen(PyBytes_AsString(name)) == (size_t)PyBytes_Size(name)
			 ? fst3fs_checkpoint_find(c, PyBytes_AsString(name))
			 : -ENOENT;
	Py_DECREF(name);
	if (number < 0)
		Py_RETURN_NONE;
	return PyLong_FromLongLong(number);
}

static PyObject *checkpoint_nbytes(PyObject *object, PyObject *which)
{
	const struct fst3fs_checkpoint *c = ((struct py_checkpoint *)object)->checkpoint;
	uint64_t nbytes = 0;
	struct fst3fs_tensor t;
	size_t *numbers;
	Py_ssize_t n = py_numbers_parse(which, &numbers);
	PyObject *result = NULL;

	if (which == Py_None)
		n = (Py_ssize_t)fst3fs_checkpoint_count(c);
	for (Py_ssize_t i = 0; i < n; i++) {
		if (fst3fs_checkpoint_tensor(c, numbers ? numbers[i] : (size_t)i, &t) < 0) {
			PyErr_Format(PyExc_ValueError, "tensor %zu of a checkpoint that has %zu", numbers[i],
				     fst3fs_checkpoint_count(c));
			n = -1;
		}
		nbytes += t.length;
	}
	if (n >= 0)
		result = PyLong_FromUnsignedLongLong(nbytes);
	PyMem_Free(numbers);
	return result;
}

static PyObject *checkpoint_files(PyObject *object, PyObject *unused)
{
	const struct fst3fs_checkpoint *c = ((struct py_checkpoint *)object)->checkpoint;
	Py_ssize_t n = (Py_ssize_t)fst3fs_checkpoint_file_count(c);
	PyObject *list = PyList_New(n);

	(void)unused;
	for (Py_ssize_t i = 0; list && i < n; i++) {
		PyObject *path = PyUnicode_DecodeFSDefault(fst3fs_checkpoint_file(c, (size_t)i));

		if (!path || PyList_SetItem(list, i, path) < 0)
			Py_CLEAR(list);
	}
	return list;
}

static int add_metadatum(PyObject *dict, const char *key, size_t key_bytes, const char *value, size_t value_bytes)
{
	PyObject *k = PyUnicode_DecodeUTF8(key, (Py_ssize_t)key_bytes, NULL);
	PyObject *v = k ? PyUnicode_DecodeUTF8(value, (Py_ssize_t)value_bytes, NULL) : NULL;
	int rc = v ? PyDict_SetItem(dict, k, v) : -1;

	Py_XDECREF(v);
	Py_XDECREF(k);
	return rc;
}

static PyObject *checkpoint_metadata(PyObject *object, PyObject *value)
{
	const struct fst3fs_checkpoint *c = ((struct py_checkpoint *)object)->checkpoint;
	const char *key, *text;
	size_t key_bytes, text_bytes;
	PyObject *dict;
	int64_t file;

	if (py_int64(value, "file", NULL, 0, (int64_t)fst3fs_checkpoint_file_count(c) - 1, &file) < 0)
		return NULL;
	dict = PyDict_New();
	for (size_t i = 0;
	     dict && fst3fs_checkpoint_metadata(c, (size_t)file, i, &key, &key_bytes, &text, &text_bytes) == 0; i++)
		if (add_metadatum(dict, key, key_bytes, text, text_bytes) < 0)
			Py_CLEAR(dict);
	return dict;
}

static Py_ssize_t checkpoint_length(PyObject *object)
{
	return (Py_ssize_t)fst3fs_checkpoint_count(((struct py_checkpoint *)object)->checkpoint);
}

static PyMethodDef checkpoint_methods[] = {
	{"tensor", checkpoint_tensor, METH_O,
	 "tensor(number) -> (name, dtype, shape, file, offset, nbytes); numbers go by file and offset"},
	{"names", checkpoint_names, METH_NOARGS, "names() -> those of all tensors, by number"},
	{"find", checkpoint_find, METH_O, "find(name) -> number, or None"},
	{"nbytes", checkpoint_nbytes, METH_O, "nbytes(numbers) -> of these tensors together; None = of all"},
	{"files", checkpoint_files, METH_NOARGS, "files() -> their paths"},
	{"metadata", checkpoint_metadata, METH_O, "metadata(file) -> its __metadata__"},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot checkpoint_slots[] = {
	{Py_tp_doc, "The tensors of one safetensors file or of many."},
	{Py_tp_new, py_refuse_new},
	{Py_tp_dealloc, checkpoint_dealloc},
	{Py_tp_methods, checkpoint_methods},
	{Py_sq_length, checkpoint_length},
	{0, NULL},
};

PyType_Spec py_checkpoint_spec = {
	.name = "fastsafetensor_3fs_reader._core.Checkpoint",
	.basicsize = sizeof(struct py_checkpoint),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = checkpoint_slots,
};

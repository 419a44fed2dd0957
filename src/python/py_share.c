/* SPDX-License-Identifier: Apache-2.0 */
/* Share: which bytes each of several processes reads. */
#include "py_core.h"

struct py_share {
	PyObject_HEAD struct fst3fs_share *share;
	PyObject *checkpoint; /* outlives the share */
};

static int share_open(struct py_share *self, const size_t *numbers, Py_ssize_t n, const int64_t *sizes)
{
	struct fst3fs_error err;
	int rc = fst3fs_share_open(((struct py_checkpoint *)self->checkpoint)->checkpoint, numbers, (size_t)n,
				   (uint32_t)sizes[0], (uint64_t)sizes[1], (uint64_t)sizes[2], &self->share, &err);

	if (rc < 0)
		py_raise(&err);
	return rc;
}

static PyObject *share_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"ranks", "window", "align"};
	PyObject *checkpoint_type = PyObject_GetAttrString((PyObject *)type, "_Checkpoint");
	PyObject *checkpoint, *which, *given[3];
	struct py_share *self = NULL;
	size_t *numbers = NULL;
	int64_t sizes[3];
	Py_ssize_t n;

	if (kwargs && PyDict_Size(kwargs) > 0) {
		PyErr_SetString(PyExc_TypeError, "Share() takes no keyword arguments");
		goto out;
	}
	if (!checkpoint_type || !PyArg_ParseTuple(args, "O!OOOO:Share", checkpoint_type, &checkpoint, &which, &given[0],
						  &given[1], &given[2]))
		goto out;
	for (int i = 0; i < 3; i++)
		if (py_int64(given[i], names[i], NULL, 1, i == 0 ? UINT32_MAX : INT64_MAX, &sizes[i]) < 0)
			goto out;
	n = py_numbers_parse(which, &numbers);
	self = n < 0 ? NULL : (struct py_share *)PyType_GenericAlloc(type, 0);
	if (!self)
		goto out;
	Py_INCREF(checkpoint);
	self->checkpoint = checkpoint;
	if (share_open(self, numbers, n, sizes) < 0)
		Py_CLEAR(self);
out:
	PyMem_Free(numbers);
	Py_XDECREF(checkpoint_type);
	return (PyObject *)self;
}

static void share_dealloc(PyObject *object)
{
	struct py_share *self = (struct py_share *)object;
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	fst3fs_share_close(self->share);
	Py_XDECREF(self->checkpoint);
	release(object);
	Py_DECREF(type);
}

static PyObject *share_window(PyObject *object, PyObject *value)
{
	const struct fst3fs_share *s = ((struct py_share *)object)->share;
	uint64_t bytes, slice;
	int64_t w;

	if (py_int64(value, "window", NULL, 0, (int64_t)fst3fs_share_windows(s) - 1, &w) < 0)
		return NULL;
	fst3fs_share_window(s, (uint64_t)w, &bytes, &slice);
	return Py_BuildValue("(KK)", (unsigned long long)bytes, (unsigned long long)slice);
}

static PyObject *request_tuple(const struct fst3fs_request *q)
{
	return Py_BuildValue("(NKLL)", PyUnicode_DecodeFSDefault(q->path), (unsigned long long)q->dst,
			     (long long)q->offset, (long long)q->length);
}

static PyObject *share_requests(PyObject *object, PyObject *args)
{
	const struct fst3fs_share *s = ((struct py_share *)object)->share;
	struct fst3fs_request *requests = NULL;
	unsigned long long w, base;
	PyObject *list = NULL;
	unsigned int rank;
	int64_t n;

	if (!PyArg_ParseTuple(args, "KIK:requests", &w, &rank, &base))
		return NULL;
	n = fst3fs_share_requests(s, w, rank, base, NULL, 0);
	if (n < 0) {
		PyErr_SetString(PyExc_ValueError, "no such window or rank");
		return NULL;
	}
	requests = PyMem_Malloc(((size_t)n + 1) * sizeof(*requests));
	if (!requests)
		return PyErr_NoMemory();
	fst3fs_share_requests(s, w, rank, base, requests, (size_t)n);
	list = PyList_New((Py_ssize_t)n);
	for (Py_ssize_t i = 0; list && i < n; i++) {
		PyObject *item = request_tuple(&requests[i]);

		if (!item || PyList_SetItem(list, i, item) < 0)
			Py_CLEAR(list);
	}
	PyMem_Free(requests);
	return list;
}

static PyObject *share_copies(PyObject *object, PyObject *value)
{
	const struct fst3fs_share *s = ((struct py_share *)object)->share;
	struct fst3fs_share_copy *copies;
	PyObject *list;
	int64_t w, n;

	if (py_int64(value, "window", NULL, 0, (int64_t)fst3fs_share_windows(s) - 1, &w) < 0)
		return NULL;
	n = fst3fs_share_copies(s, (uint64_t)w, NULL, 0);
	copies = PyMem_Malloc(((size_t)n + 1) * sizeof(*copies));
	if (!copies)
		return PyErr_NoMemory();
	fst3fs_share_copies(s, (uint64_t)w, copies, (size_t)n);
	list = PyList_New((Py_ssize_t)n);
	for (Py_ssize_t i = 0; list && i < n; i++) {
		PyObject *item =
			Py_BuildValue("(nKKK)", (Py_ssize_t)copies[i].tensor, (unsigned long long)copies[i].offset,
				      (unsigned long long)copies[i].at, (unsigned long long)copies[i].length);

		if (!item || PyList_SetItem(list, i, item) < 0)
			Py_CLEAR(list);
	}
	PyMem_Free(copies);
	return list;
}

static Py_ssize_t share_length(PyObject *object)
{
	return (Py_ssize_t)fst3fs_share_windows(((struct py_share *)object)->share);
}

static PyMethodDef share_methods[] = {
	{"window", share_window, METH_O, "window(w) -> (bytes, bytes of a slice)"},
	{"requests", share_requests, METH_VARARGS,
	 "requests(w, rank, base) -> [(path, dst, offset, length), ...] for start_many"},
	{"copies", share_copies, METH_O, "copies(w) -> [(tensor, offset in it, offset in the window, length), ...]"},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot share_slots[] = {
	{Py_tp_doc, "Share(checkpoint, numbers or None, ranks, window, align): windows of bytes, divided among ranks."},
	{Py_tp_new, share_new},
	{Py_tp_dealloc, share_dealloc},
	{Py_tp_methods, share_methods},
	{Py_sq_length, share_length},
	{0, NULL},
};

PyType_Spec py_share_spec = {
	.name = "fastsafetensor_3fs_reader._core.Share",
	.basicsize = sizeof(struct py_share),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = share_slots,
};

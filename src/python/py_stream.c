/* SPDX-License-Identifier: Apache-2.0 */
/* Stream: tensors of a checkpoint as they come; and tensors of it all at once. */
#include "py_core.h"

struct py_stream {
	PyObject_HEAD struct fst3fs_stream *stream; /* NULL once it was closed */
	PyObject *reader, *checkpoint;		    /* outlive the stream */
	bool busy;				    /* a call of this object is in the library */
};

/* ------------------------------------------------------------------ all at once */

static int addresses_parse(PyObject *given, Py_ssize_t n, uint64_t **addresses)
{
	PyObject *list = PySequence_List(given);
	int rc = list ? 0 : -1;

	if (list && PyList_Size(list) != n) {
		PyErr_Format(PyExc_ValueError, "%zd addresses for %zd tensors", PyList_Size(list), n);
		rc = -1;
	}
	*addresses = rc == 0 ? PyMem_Malloc(((size_t)n + 1) * sizeof(**addresses)) : NULL;
	if (rc == 0 && !*addresses) {
		PyErr_NoMemory();
		rc = -1;
	}
	for (Py_ssize_t i = 0; rc == 0 && i < n; i++)
		rc = py_address(PyList_GetItem(list, i), NULL, &(*addresses)[i]);
	Py_XDECREF(list);
	return rc;
}

PyObject *py_reader_read_tensors(PyObject *object, PyObject *args)
{
	struct py_reader *self = (struct py_reader *)object;
	PyObject *type = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_Checkpoint");
	PyObject *checkpoint, *which, *where, *result = NULL;
	uint64_t *addresses = NULL;
	size_t *numbers = NULL;
	struct fst3fs_error err;
	Py_ssize_t n;
	int rc;

	if (!type || !PyArg_ParseTuple(args, "O!OO:read_tensors", type, &checkpoint, &which, &where))
		goto out;
	n = py_numbers_parse(which, &numbers);
	if (n < 0 || addresses_parse(where, n, &addresses) < 0)
		goto out;
	py_call_begin();
	rc = fst3fs_read_tensors(self->reader, ((struct py_checkpoint *)checkpoint)->checkpoint, numbers, addresses,
				 (size_t)n, &err);
	py_call_end();
	if (rc < 0)
		py_raise(&err);
	if (!PyErr_Occurred()) {
		Py_INCREF(Py_None);
		result = Py_None;
	}
out:
	PyMem_Free(addresses);
	PyMem_Free(numbers);
	Py_XDECREF(type);
	return result;
}

/* ------------------------------------------------------------------ making and ending one */

static int stream_open(struct py_stream *self, const size_t *numbers, Py_ssize_t n, uint64_t ahead)
{
	struct fst3fs_stream_options options;
	struct fst3fs_stream *stream = NULL;
	struct fst3fs_error err;
	int rc;

	fst3fs_stream_options_init(&options);
	options.ahead = ahead;
	py_call_begin();
	rc = fst3fs_stream_open(((struct py_reader *)self->reader)->reader,
				((struct py_checkpoint *)self->checkpoint)->checkpoint, numbers, (size_t)n, &options,
				&stream, &err);
	py_call_end();
	self->stream = stream;
	if (rc < 0)
		py_raise(&err);
	return PyErr_Occurred() ? -1 : 0;
}

PyObject *py_reader_stream(PyObject *object, PyObject *args)
{
	PyObject *checkpoint_type = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_Checkpoint");
	PyObject *type = checkpoint_type ? PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_Stream") : NULL;
	PyObject *checkpoint, *which, *ahead_given;
	struct py_stream *self = NULL;
	size_t *numbers = NULL;
	int64_t ahead;
	Py_ssize_t n;

	if (!type || !PyArg_ParseTuple(args, "O!OO:stream", checkpoint_type, &checkpoint, &which, &ahead_given) ||
	    py_int64(ahead_given, "ahead", NULL, 0, INT64_MAX, &ahead) < 0)
		goto out;
	n = py_numbers_parse(which, &numbers);
	self = n < 0 ? NULL : (struct py_stream *)PyType_GenericAlloc((PyTypeObject *)type, 0);
	if (!self)
		goto out;
	Py_INCREF(object);
	self->reader = object;
	Py_INCREF(checkpoint);
	self->checkpoint = checkpoint;
	if (stream_open(self, numbers, n, (uint64_t)ahead) < 0)
		Py_CLEAR(self);
out:
	PyMem_Free(numbers);
	Py_XDECREF(type);
	Py_XDECREF(checkpoint_type);
	return (PyObject *)self;
}

static void stream_dealloc(PyObject *object)
{
	struct py_stream *self = (struct py_stream *)object;
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
	PyObject *error_type, *error, *traceback;

	PyErr_Fetch(&error_type, &error, &traceback);
	py_call_begin();
	fst3fs_stream_close(self->stream);
	py_call_end();
	PyErr_Restore(error_type, error, traceback);
	Py_XDECREF(self->checkpoint);
	Py_XDECREF(self->reader);
	release(object);
	Py_DECREF(type);
}

/* ------------------------------------------------------------------ methods: one thread at a time */

static int enter(struct py_stream *self)
{
	if (!self->stream)
		PyErr_SetString(PyExc_ValueError, "the stream was closed");
	else if (self->busy)
		PyErr_SetString(PyExc_RuntimeError, "another thread is using the stream");
	else
		self->busy = true;
	return PyErr_Occurred() ? -1 : 0;
}

static PyObject *stream_wants(PyObject *object, PyObject *unused)
{
	struct py_stream *self = (struct py_stream *)object;
	size_t tensor;
	bool wants;

	(void)unused;
	if (enter(self) < 0)
		return NULL;
	py_call_begin();
	wants = fst3fs_stream_wants(self->stream, &tensor);
	py_call_end();
	self->busy = false;
	if (!wants)
		Py_RETURN_NONE;
	return PyLong_FromSize_t(tensor);
}

static PyObject *stream_give(PyObject *object, PyObject *value)
{
	struct py_stream *self = (struct py_stream *)object;
	struct fst3fs_error err;
	uint64_t address;
	int rc;

	if (py_address(value, NULL, &address) < 0 || enter(self) < 0)
		return NULL;
	py_call_begin();
	rc = fst3fs_stream_give(self->stream, address, &err);
	py_call_end();
	self->busy = false;
	if (rc < 0)
		return py_raise(&err);
	Py_RETURN_NONE;
}

static PyObject *stream_next(PyObject *object, PyObject *unused)
{
	struct py_stream *self = (struct py_stream *)object;
	struct fst3fs_error err;
	size_t tensor;
	int rc;

	(void)unused;
	if (enter(self) < 0)
		return NULL;
	py_call_begin();
	rc = fst3fs_stream_next(self->stream, &tensor, &err);
	py_call_end();
	self->busy = false;
	if (rc < 0)
		return py_raise(&err);
	if (PyErr_Occurred())
		return NULL;
	if (rc == 0)
		Py_RETURN_NONE;
	return PyLong_FromSize_t(tensor);
}

static PyObject *stream_info(PyObject *object, PyObject *unused)
{
	struct py_stream *self = (struct py_stream *)object;
	struct fst3fs_stream_info info = {.size = sizeof(info)};

	(void)unused;
	if (enter(self) < 0)
		return NULL;
	py_call_begin();
	fst3fs_stream_get_info(self->stream, &info);
	py_call_end();
	self->busy = false;
	return Py_BuildValue("{sK sK sK sK sK}", "bytes_wanted", (unsigned long long)info.wanted, "bytes_requested",
			     (unsigned long long)info.requested, "bytes_taken", (unsigned long long)info.taken,
			     "wait_ns", (unsigned long long)info.wait_ns, "idle_ns", (unsigned long long)info.idle_ns);
}

static PyObject *stream_close(PyObject *object, PyObject *unused)
{
	struct py_stream *self = (struct py_stream *)object;
	struct fst3fs_stream *stream;

	(void)unused;
	if (self->stream && enter(self) < 0)
		return NULL;
	stream = self->stream;
	self->stream = NULL;
	self->busy = false;
	py_call_begin();
	fst3fs_stream_close(stream);
	py_call_end();
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyMethodDef stream_methods[] = {
	{"wants", stream_wants, METH_NOARGS, "wants() -> number of the tensor that needs an address now, or None"},
	{"give", stream_give, METH_O, "give(address) for the tensor that was wanted"},
	{"next", stream_next, METH_NOARGS, "next() -> number of the next tensor, whose bytes are there, or None"},
	{"info", stream_info, METH_NOARGS, "info() -> dict of bytes and waits"},
	{"close", stream_close, METH_NOARGS, "Ends it; when it returns nothing is in flight. Again is fine."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot stream_slots[] = {
	{Py_tp_doc, "Tensors of a checkpoint as they come, for one thread at a time."},
	{Py_tp_new, py_refuse_new},
	{Py_tp_dealloc, stream_dealloc},
	{Py_tp_methods, stream_methods},
	{0, NULL},
};

PyType_Spec py_stream_spec = {
	.name = "fastsafetensor_3fs_reader._core.Stream",
	.basicsize = sizeof(struct py_stream),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = stream_slots,
};

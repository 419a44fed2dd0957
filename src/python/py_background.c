/* SPDX-License-Identifier: Apache-2.0 */
/* Batch: ranges that are read in the background. */
#include "py_core.h"

struct py_batch {
	PyObject_HEAD struct fst3fs_batch *batch; /* NULL once it has ended */
	PyObject *reader;			  /* outlives the batch */
	unsigned waiting;			  /* calls of this object that are in the library */
};

PyObject *py_reader_start_many(PyObject *object, PyObject *args)
{
	struct py_reader *self = (struct py_reader *)object;
	PyObject *given, *chunk, *type = NULL;
	struct py_ranges ranges = {0};
	struct py_batch *result = NULL;
	struct fst3fs_batch *batch = NULL;
	struct fst3fs_error err;
	int64_t chunk_size;
	int rc;

	if (!PyArg_ParseTuple(args, "OO:start_many", &given, &chunk) ||
	    py_int64(chunk, "chunk_size", NULL, 0, INT64_MAX, &chunk_size) < 0 || py_ranges_parse(&ranges, given) < 0)
		goto out;
	type = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_Batch");
	result = type ? (struct py_batch *)PyType_GenericAlloc((PyTypeObject *)type, 0) : NULL;
	if (!result)
		goto out;
	Py_INCREF(object);
	result->reader = object;
	py_call_begin();
	rc = fst3fs_start_many(self->reader, ranges.requests, (size_t)ranges.count, chunk_size, &batch, &err);
	py_call_end();
	result->batch = batch;
	if (rc < 0)
		py_raise(&err);
	if (PyErr_Occurred())
		Py_CLEAR(result);
out:
	Py_XDECREF(type);
	py_ranges_fini(&ranges);
	return (PyObject *)result;
}

static void batch_dealloc(PyObject *object)
{
	struct py_batch *self = (struct py_batch *)object;
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
	PyObject *error_type, *error, *traceback;

	PyErr_Fetch(&error_type, &error, &traceback);
	py_call_begin();
	fst3fs_batch_cancel(self->batch);
	py_call_end();
	PyErr_Restore(error_type, error, traceback);
	Py_XDECREF(self->reader);
	release(object);
	Py_DECREF(type);
}

static int check_alive(const struct py_batch *self)
{
	if (self->batch)
		return 0;
	PyErr_SetString(PyExc_ValueError, "the batch has ended");
	return -1;
}

static PyObject *batch_wait(PyObject *object, PyObject *value)
{
	struct py_batch *self = (struct py_batch *)object;
	struct fst3fs_error err;
	int64_t i, got;

	if (py_int64(value, "index", NULL, 0, PY_SSIZE_T_MAX, &i) < 0 || check_alive(self) < 0)
		return NULL;
	self->waiting++;
	py_call_begin();
	got = fst3fs_batch_wait(self->batch, (size_t)i, &err);
	py_call_end();
	self->waiting--;
	if (got < 0)
		return py_raise(&err);
	return PyErr_Occurred() ? NULL : PyLong_FromLongLong(got);
}

static PyObject *batch_is_ready(PyObject *object, PyObject *value)
{
	struct py_batch *self = (struct py_batch *)object;
	int64_t i;

	if (py_int64(value, "index", NULL, 0, PY_SSIZE_T_MAX, &i) < 0 || check_alive(self) < 0)
		return NULL;
	return PyBool_FromLong(fst3fs_batch_is_ready(self->batch, (size_t)i));
}

/* Takes the batch out of the object, so that it ends once; NULL with an exception while somebody waits. */
static struct fst3fs_batch *take(struct py_batch *self)
{
	struct fst3fs_batch *batch = self->batch;

	if (self->waiting > 0) {
		PyErr_SetString(PyExc_RuntimeError, "another thread is waiting for a range of the batch");
		return NULL;
	}
	self->batch = NULL;
	return batch;
}

static PyObject *batch_finish(PyObject *object, PyObject *unused)
{
	struct py_batch *self = (struct py_batch *)object;
	struct fst3fs_batch *batch = take(self);
	struct fst3fs_error err;
	int rc = 0;

	(void)unused;
	if (batch) {
		py_call_begin();
		rc = fst3fs_batch_finish(batch, &err);
		py_call_end();
	}
	if (rc < 0)
		return py_raise(&err);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *batch_cancel(PyObject *object, PyObject *unused)
{
	struct fst3fs_batch *batch = take((struct py_batch *)object);

	(void)unused;
	py_call_begin();
	fst3fs_batch_cancel(batch);
	py_call_end();
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyMethodDef batch_methods[] = {
	{"wait", batch_wait, METH_O, "wait(index) -> bytes delivered of that range, as soon as they are there"},
	{"is_ready", batch_is_ready, METH_O, "is_ready(index) -> would wait() return at once?"},
	{"finish", batch_finish, METH_NOARGS, "Waits for everything. Again is fine."},
	{"cancel", batch_cancel, METH_NOARGS, "Ends it at once; when it returns nothing is in flight. Again is fine."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot batch_slots[] = {
	{Py_tp_doc, "Ranges that are read in the background. Dropped, it is cancelled."},
	{Py_tp_new, py_refuse_new},
	{Py_tp_dealloc, batch_dealloc},
	{Py_tp_methods, batch_methods},
	{0, NULL},
};

PyType_Spec py_batch_spec = {
	.name = "fastsafetensor_3fs_reader._core.Batch",
	.basicsize = sizeof(struct py_batch),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = batch_slots,
};

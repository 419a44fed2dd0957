/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

#include <limits.h>

/* ------------------------------------------------------------------ making and ending one */

/* What the constructor was given, before it is checked. The strings are owned references. */
struct settings {
	PyObject *mount_point, *sdk_path, *trace;
	PyObject *entries, *io_depth, *buffer_size, *timeout_ms;
	PyObject *log;
	int usrbio, require_usrbio, populate, log_level;
};

static void settings_fini(struct settings *s)
{
	Py_XDECREF(s->mount_point);
	Py_XDECREF(s->sdk_path);
	Py_XDECREF(s->trace);
}

static int settings_parse(struct settings *s, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"mount_point", "entries",	 "io_depth", "buffer_size", "timeout_ms", "usrbio",
				"sdk_path",    "require_usrbio", "log",	     "log_level",   "trace",	  "populate",
				NULL};

	return PyArg_ParseTupleAndKeywords(args, kwargs, "O&OOOO|iO&pOiO&p:Reader", names, PyUnicode_FSConverter,
					   &s->mount_point, &s->entries, &s->io_depth, &s->buffer_size, &s->timeout_ms,
					   &s->usrbio, PyUnicode_FSConverter, &s->sdk_path, &s->require_usrbio, &s->log,
					   &s->log_level, PyUnicode_FSConverter, &s->trace, &s->populate)
		       ? 0
		       : -1;
}

static int settings_apply(const struct settings *s, struct fst3fs_options *o)
{
	int64_t entries, io_depth, buffer_size, timeout_ms;

	if (py_int64(s->entries, "entries", NULL, 1, INT_MAX, &entries) < 0 ||
	    py_int64(s->io_depth, "io_depth", NULL, INT_MIN, INT_MAX, &io_depth) < 0 ||
	    py_int64(s->buffer_size, "buffer_size", NULL, 1, INT64_MAX, &buffer_size) < 0 ||
	    py_int64(s->timeout_ms, "timeout in milliseconds", NULL, 1, UINT32_MAX, &timeout_ms) < 0)
		return -1;
	o->mount_point = PyBytes_AsString(s->mount_point);
	o->sdk_path = s->sdk_path ? PyBytes_AsString(s->sdk_path) : NULL;
	o->entries = (int)entries;
	o->io_depth = (int)io_depth;
	o->buffer_size = (uint64_t)buffer_size;
	o->timeout_ms = (uint32_t)timeout_ms;
	o->trace = s->trace ? PyBytes_AsString(s->trace) : NULL;
	o->usrbio = s->usrbio;
	o->require_usrbio = s->require_usrbio;
	o->log_level = s->log_level;
	o->populate = s->populate;
	return 0;
}

static int reader_open(struct py_reader *self, const struct settings *s)
{
	struct fst3fs_options options;
	struct fst3fs_reader *reader = NULL;
	struct fst3fs_error err;
	int rc;

	fst3fs_options_init(&options);
	if (settings_apply(s, &options) < 0)
		return -1;
	if (s->log && s->log != Py_None) {
		Py_INCREF(s->log);
		self->log = s->log;
	}
	options.log = py_call_log;
	options.log_ctx = self->log;
	options.interrupted = py_call_interrupted;
	py_call_begin();
	rc = fst3fs_open(&options, &reader, &err);
	py_call_end();
	self->reader = reader;
	if (rc < 0)
		py_raise(&err);
	return PyErr_Occurred() ? -1 : 0;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	struct settings settings = {.log_level = FST3FS_LOG_INFO, .populate = 1};
	PyObject *self = NULL;

	if (settings_parse(&settings, args, kwargs) == 0)
		self = PyType_GenericAlloc(type, 0);
	if (self && reader_open((struct py_reader *)self, &settings) < 0) {
		Py_DECREF(self);
		self = NULL;
	}
	settings_fini(&settings);
	return self;
}

static void reader_dealloc(PyObject *object)
{
	struct py_reader *self = (struct py_reader *)object;
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
	PyObject *error_type, *error, *traceback;

	/* The last reference may go while an exception travels; logging must not see it. */
	PyErr_Fetch(&error_type, &error, &traceback);
	py_call_begin();
	fst3fs_close(self->reader);
	py_call_end();
	PyErr_Restore(error_type, error, traceback);
	Py_XDECREF(self->log);
	release(object);
	/* An object of a heap type owns a reference to it. */
	Py_DECREF(type);
}

/* ------------------------------------------------------------------ methods */

/* What a read was asked for; `path` is an owned bytes object. */
struct request {
	PyObject *path;
	uint64_t dst;
	int64_t offset, length, chunk_size;
	unsigned int flags;
};

static int request_parse(struct request *r, PyObject *args)
{
	PyObject *dst, *offset, *length, *chunk_size;

	if (!PyArg_ParseTuple(args, "O&OOOOI:read", PyUnicode_FSConverter, &r->path, &dst, &offset, &length,
			      &chunk_size, &r->flags))
		return -1;
	if (py_address(dst, r->path, &r->dst) < 0 ||
	    py_int64(offset, "file_offset", r->path, 0, INT64_MAX, &r->offset) < 0 ||
	    py_int64(length, "total_length", r->path, 0, INT64_MAX, &r->length) < 0 ||
	    py_int64(chunk_size, "chunk_size", r->path, 0, INT64_MAX, &r->chunk_size) < 0)
		return -1;
	return 0;
}

static PyObject *reader_read(PyObject *object, PyObject *args)
{
	struct py_reader *self = (struct py_reader *)object;
	struct request r = {.path = NULL};
	PyObject *result = NULL;
	struct fst3fs_error err;
	const char *path;
	int64_t got;

	if (request_parse(&r, args) < 0)
		goto out;
	path = PyBytes_AsString(r.path);
	py_call_begin();
	got = fst3fs_read(self->reader, path, r.dst, r.offset, r.length, r.chunk_size, r.flags, &err);
	py_call_end();
	if (got < 0)
		py_raise(&err);
	else if (!PyErr_Occurred())
		result = PyLong_FromLongLong(got);
out:
	Py_XDECREF(r.path);
	return result;
}

static PyObject *reader_has_file(PyObject *object, PyObject *args)
{
	struct py_reader *self = (struct py_reader *)object;
	PyObject *path = NULL;
	bool has;

	if (!PyArg_ParseTuple(args, "O&:has_file", PyUnicode_FSConverter, &path))
		return NULL;
	py_call_begin();
	has = fst3fs_has_file(self->reader, PyBytes_AsString(path));
	py_call_end();
	Py_DECREF(path);
	return PyBool_FromLong(has);
}

static PyObject *reader_release(PyObject *object, PyObject *unused)
{
	(void)unused;
	py_call_begin();
	fst3fs_release(((struct py_reader *)object)->reader);
	py_call_end();
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *reader_alloc(PyObject *object, PyObject *value)
{
	struct py_reader *self = (struct py_reader *)object;
	PyObject *type = NULL, *result = NULL;
	struct fst3fs_memory *memory;
	struct fst3fs_error err;
	int64_t size;
	int rc;

	if (py_int64(value, "nbytes", NULL, 1, PY_SSIZE_T_MAX, &size) < 0)
		return NULL;
	type = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_Memory");
	if (!type)
		return NULL;
	py_call_begin();
	rc = fst3fs_alloc(self->reader, (uint64_t)size, &memory, &err);
	py_call_end();
	if (rc == 0)
		result = py_memory_new(type, memory);
	else
		py_raise(&err);
	Py_DECREF(type);
	return result;
}

static PyMethodDef reader_methods[] = {
	{"read", reader_read, METH_VARARGS, "read(path, dst, offset, length, chunk_size, flags) -> bytes delivered"},
	{"read_many", py_reader_read_many, METH_VARARGS,
	 "read_many([(path, dst, offset, length), ...], chunk_size, flags) -> [bytes delivered, ...]"},
	{"read_headers", py_reader_read_headers, METH_VARARGS,
	 "read_headers(paths, num_threads) -> [(json, header length, file size), ...]"},
	{"start_many", py_reader_start_many, METH_VARARGS,
	 "start_many([(path, dst, offset, length), ...], chunk_size) -> Batch"},
	{"checkpoint", py_reader_checkpoint, METH_O, "checkpoint(paths) -> Checkpoint"},
	{"stream", py_reader_stream, METH_VARARGS, "stream(checkpoint, numbers or None, ahead) -> Stream"},
	{"read_tensors", py_reader_read_tensors, METH_VARARGS, "read_tensors(checkpoint, numbers, addresses)"},
	{"has_file", reader_has_file, METH_VARARGS, "has_file(path) -> is it open here?"},
	{"alloc", reader_alloc, METH_O, "alloc(nbytes) -> Memory"},
	{"release", reader_release, METH_NOARGS, "Gives back files, buffer and registrations."},
	{"stats", py_reader_stats, METH_NOARGS, "stats() -> dict of what was counted"},
	{"info", py_reader_info, METH_NOARGS, "info() -> dict of what is in use"},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot reader_slots[] = {
	{Py_tp_doc, "A reader of the C library."},
	{Py_tp_new, reader_new},
	{Py_tp_dealloc, reader_dealloc},
	{Py_tp_methods, reader_methods},
	{0, NULL},
};

PyType_Spec py_reader_spec = {
	.name = "fastsafetensor_3fs_reader._core.Reader",
	.basicsize = sizeof(struct py_reader),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = reader_slots,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

#include <limits.h>

static PyObject *module_mount_point(PyObject *module, PyObject *args)
{
	char mount[PATH_MAX];
	PyObject *path = NULL, *result = NULL;
	int rc;

	(void)module;
	if (!PyArg_ParseTuple(args, "O&:mount_point", PyUnicode_FSConverter, &path))
		return NULL;
	py_call_begin();
	rc = fst3fs_mount_point(PyBytes_AsString(path), mount, sizeof(mount));
	py_call_end();
	if (rc >= 0) {
		result = PyUnicode_DecodeFSDefault(mount);
	} else {
		errno = -rc;
		PyErr_SetFromErrnoWithFilename(PyExc_OSError, PyBytes_AsString(path));
	}
	Py_DECREF(path);
	return result;
}

static PyObject *module_alloc_host(PyObject *module, PyObject *value)
{
	PyObject *type, *result = NULL;
	struct fst3fs_memory *memory;
	struct fst3fs_error err;
	int64_t size;
	int rc;

	if (py_int64(value, "nbytes", NULL, 1, PY_SSIZE_T_MAX, &size) < 0)
		return NULL;
	type = PyObject_GetAttrString(module, "Memory");
	if (!type)
		return NULL;
	py_call_begin();
	rc = fst3fs_alloc_host((uint64_t)size, &memory, &err);
	py_call_end();
	if (rc == 0)
		result = py_memory_new(type, memory);
	else
		py_raise(&err);
	Py_DECREF(type);
	return result;
}

static PyMethodDef module_methods[] = {
	{"alloc_host", module_alloc_host, METH_O, "alloc_host(nbytes) -> Memory, private to this process"},
	{"mount_point", module_mount_point, METH_VARARGS, "mount_point(path) -> its 3FS mount point, or ''"},
	{NULL, NULL, 0, NULL},
};

/* Makes the type of `spec` and puts it into `owner` under `name`. */
static PyObject *add_type(PyObject *owner, const char *name, PyType_Spec *spec)
{
	PyObject *type = PyType_FromSpec(spec);

	if (type && PyObject_SetAttrString(owner, name, type) < 0) {
		Py_DECREF(type);
		return NULL;
	}
	return type;
}

static int add_constants(PyObject *module)
{
	if (PyModule_AddStringConstant(module, "version", fst3fs_version()) < 0 ||
	    PyModule_AddIntConstant(module, "READ_IN_TURN", FST3FS_READ_IN_TURN) < 0 ||
	    PyModule_AddIntConstant(module, "USRBIO_BUILTIN", FST3FS_USRBIO_BUILTIN) < 0 ||
	    PyModule_AddIntConstant(module, "USRBIO_SDK", FST3FS_USRBIO_SDK) < 0)
		return -1;
	return 0;
}

/* A type's attributes are the types that its methods need: there are no Python objects in C globals. */
static int module_exec(PyObject *module)
{
	PyObject *reader = add_type(module, "Reader", &py_reader_spec);
	PyObject *share = reader ? add_type(module, "Share", &py_share_spec) : NULL;
	PyObject *memory = share ? add_type(module, "Memory", &py_memory_spec) : NULL;
	PyObject *batch = memory ? add_type(module, "Batch", &py_batch_spec) : NULL;
	PyObject *checkpoint = batch ? add_type(module, "Checkpoint", &py_checkpoint_spec) : NULL;
	PyObject *stream = checkpoint ? add_type(module, "Stream", &py_stream_spec) : NULL;
	int rc = -1;

	if (stream && PyObject_SetAttrString(reader, "_Memory", memory) == 0 &&
	    PyObject_SetAttrString(reader, "_Batch", batch) == 0 &&
	    PyObject_SetAttrString(reader, "_Checkpoint", checkpoint) == 0 &&
	    PyObject_SetAttrString(reader, "_Stream", stream) == 0 &&
	    PyObject_SetAttrString(share, "_Checkpoint", checkpoint) == 0)
		rc = add_constants(module);
	Py_XDECREF(stream);
	Py_XDECREF(checkpoint);
	Py_XDECREF(batch);
	Py_XDECREF(memory);
	Py_XDECREF(share);
	Py_XDECREF(reader);
	return rc;
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, module_exec},
	{0, NULL},
};

static struct PyModuleDef module_def = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_core",
	.m_doc = "The C library as Python objects. Use the package, not this module.",
	.m_methods = module_methods,
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&module_def);
}

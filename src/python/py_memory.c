/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

#include "py_buffer.h"

struct py_memory {
	PyObject_HEAD struct fst3fs_memory *memory;
	Py_ssize_t size; /* views point here for their shape */
	Py_ssize_t stride;
};

PyObject *py_memory_new(PyObject *type, struct fst3fs_memory *memory)
{
	struct py_memory *self = (struct py_memory *)PyType_GenericAlloc((PyTypeObject *)type, 0);

	if (!self) {
		fst3fs_memory_free(memory);
		return NULL;
	}
	self->memory = memory;
	self->size = (Py_ssize_t)fst3fs_memory_size(memory);
	self->stride = 1;
	return (PyObject *)self;
}

static void memory_dealloc(PyObject *object)
{
	struct py_memory *self = (struct py_memory *)object;
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	py_call_begin();
	fst3fs_memory_free(self->memory);
	py_call_end();
	release(object);
	/* An object of a heap type owns a reference to it. */
	Py_DECREF(type);
}

static int memory_getbuffer(PyObject *object, struct py_buffer *view, int flags)
{
	struct py_memory *self = (struct py_memory *)object;

	*view = (struct py_buffer){
		.buf = fst3fs_memory_address(self->memory),
		.len = self->size,
		.itemsize = 1,
		.ndim = 1,
		.format = flags & PY_BUFFER_FORMAT ? "B" : NULL,
		.shape = (flags & PY_BUFFER_ND) == PY_BUFFER_ND ? &self->size : NULL,
		.strides = (flags & PY_BUFFER_STRIDES) == PY_BUFFER_STRIDES ? &self->stride : NULL,
	};
	/* Each view owns a reference, so that the memory lives as long as the last of them. */
	Py_INCREF(object);
	view->obj = object;
	return 0;
}

static PyObject *memory_address(PyObject *object, void *unused)
{
	(void)unused;
	return PyLong_FromVoidPtr(fst3fs_memory_address(((struct py_memory *)object)->memory));
}

static PyObject *memory_nbytes(PyObject *object, void *unused)
{
	(void)unused;
	return PyLong_FromSsize_t(((struct py_memory *)object)->size);
}

static Py_ssize_t memory_length(PyObject *object)
{
	return ((struct py_memory *)object)->size;
}

static PyGetSetDef memory_getset[] = {
	{"address", memory_address, NULL, "Address of the first byte.", NULL},
	{"nbytes", memory_nbytes, NULL, "Length in bytes.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot memory_slots[] = {
	{Py_tp_doc, "Host memory for reads. Released with its last reference or view."},
	{Py_tp_new, py_refuse_new},
	{Py_tp_dealloc, memory_dealloc},
	{Py_tp_getset, memory_getset},
	{Py_sq_length, memory_length},
	{PY_BUFFER_GET, memory_getbuffer},
	{0, NULL},
};

PyType_Spec py_memory_spec = {
	.name = "fastsafetensor_3fs_reader._core.Memory",
	.basicsize = sizeof(struct py_memory),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = memory_slots,
};

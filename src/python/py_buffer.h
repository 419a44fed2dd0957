/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffer protocol for a module that also runs on Python 3.9 and 3.10.
 *
 * The limited API shows Py_buffer and its slots from 3.11 on. The interpreter takes the same slots in a type's spec,
 * and uses the same structure, since 3.9; as those two releases are finished, that cannot change any more. So the
 * declarations stand here, under names of our own, and py_buffer_check.c, which is compiled without the limited API,
 * compares them with the real ones of the Python that is built for.
 */
#ifndef PY_BUFFER_H
#define PY_BUFFER_H

struct py_buffer {
	void *buf;
	PyObject *obj; /* owned by the view: keeps the memory alive */
	Py_ssize_t len;
	Py_ssize_t itemsize;
	int readonly;
	int ndim;
	char *format;
	Py_ssize_t *shape;
	Py_ssize_t *strides;
	Py_ssize_t *suboffsets;
	void *internal;
};

enum {
	PY_BUFFER_GET = 1,	  /* Py_bf_getbuffer */
	PY_BUFFER_FORMAT = 0x4,	  /* PyBUF_FORMAT */
	PY_BUFFER_ND = 0x8,	  /* PyBUF_ND */
	PY_BUFFER_STRIDES = 0x18, /* PyBUF_STRIDES */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled without the limited API, and linked into nothing: is py_buffer.h what this Python means? */
#include <Python.h>

#include <stddef.h>

#include "py_buffer.h"

#define SAME(field)                                                                                                    \
	_Static_assert(offsetof(struct py_buffer, field) == offsetof(Py_buffer, field) &&                              \
			       sizeof(((struct py_buffer *)0)->field) == sizeof(((Py_buffer *)0)->field),              \
		       #field)
SAME(buf);
SAME(obj);
SAME(len);
SAME(itemsize);
SAME(readonly);
SAME(ndim);
SAME(format);
SAME(shape);
SAME(strides);
SAME(suboffsets);
SAME(internal);
_Static_assert(sizeof(struct py_buffer) == sizeof(Py_buffer), "size");

#ifdef Py_bf_getbuffer
_Static_assert(PY_BUFFER_GET == Py_bf_getbuffer, "slot");
#endif
_Static_assert(PY_BUFFER_FORMAT == PyBUF_FORMAT, "PyBUF_FORMAT");
_Static_assert(PY_BUFFER_ND == PyBUF_ND, "PyBUF_ND");
_Static_assert(PY_BUFFER_STRIDES == PyBUF_STRIDES, "PyBUF_STRIDES");

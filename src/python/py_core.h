/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPython module `_core`: argument checks, the GIL, exceptions; no logic of its own.
 *
 * It sees fst3fs.h and Python's limited API of 3.9, and keeps no Python object in a C global: the types live in the
 * module, and what a method needs beyond its own object hangs on its type.
 */
#ifndef PY_CORE_H
#define PY_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fst3fs.h"

/* ------------------------------------------------------------------ the GIL (py_call.c) */

/* Every call of the library stands between these two: it runs without the GIL, and its callbacks find the thread's
 * state again. */
void py_call_begin(void);
void py_call_end(void);

/* Callbacks of a reader. `ctx` of the first is the Python callable log(level, line); NULL drops the line. */
void py_call_log(void *ctx, int level, const char *line);
int py_call_interrupted(void *ctx);

/* ------------------------------------------------------------------ exceptions (py_error.c) */

/* Raises what `err` says, or leaves the exception that a signal handler raised during the call. Returns NULL. */
PyObject *py_raise(const struct fst3fs_error *err);

/* ------------------------------------------------------------------ arguments (py_args.c) */

/* An integer in lo..hi, or -1 and a ValueError that names the argument and, unless NULL, the file (a bytes path). */
int py_int64(PyObject *value, const char *name, PyObject *file, int64_t lo, int64_t hi, int64_t *out);
/* An address, 0 .. 2^64 - 1. */
int py_address(PyObject *value, PyObject *file, uint64_t *out);

/* ------------------------------------------------------------------ types */

struct py_reader {
	PyObject_HEAD struct fst3fs_reader *reader;
	PyObject *log; /* callable, or NULL */
};

extern PyType_Spec py_reader_spec; /* _core.Reader; its attribute Memory is the type of what alloc() gives */
extern PyType_Spec py_memory_spec; /* _core.Memory */

/* Hands `memory` over to a new object of `type`; frees it when that fails. */
PyObject *py_memory_new(PyObject *type, struct fst3fs_memory *memory);

/* Methods of Reader that have files of their own. */
PyObject *py_reader_read_many(PyObject *self, PyObject *args);	  /* py_batch.c */
PyObject *py_reader_read_headers(PyObject *self, PyObject *args); /* py_batch.c */
PyObject *py_reader_info(PyObject *self, PyObject *unused);	  /* py_info.c */

#endif

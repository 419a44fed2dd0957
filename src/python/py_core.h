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

/* Requests for the library from a sequence of (path, dev_ptr, file_offset, total_length). -1 with an exception; ended
 * with py_ranges_fini in either case. */
struct py_ranges {
	struct fst3fs_request *requests;
	Py_ssize_t count;
	PyObject *paths; /* list of the bytes objects that own their paths */
};

int py_ranges_parse(struct py_ranges *r, PyObject *given);
void py_ranges_fini(struct py_ranges *r);

/* Paths for the library, borrowed from `owners`, a list of bytes objects. -1 with an exception; the array is for
 * PyMem_Free and the list for Py_XDECREF in either case. */
int py_paths_parse(PyObject *given, PyObject **owners, const char ***paths);

/* ------------------------------------------------------------------ types */

struct py_reader {
	PyObject_HEAD struct fst3fs_reader *reader;
	PyObject *log; /* callable, or NULL */
};

struct py_checkpoint {
	PyObject_HEAD struct fst3fs_checkpoint *checkpoint;
};

/* _core.Reader; the types of what its methods give are its attributes _Memory, _Batch, _Checkpoint and _Stream. */
extern PyType_Spec py_reader_spec;
extern PyType_Spec py_memory_spec;
extern PyType_Spec py_batch_spec;
extern PyType_Spec py_checkpoint_spec;
extern PyType_Spec py_stream_spec;
extern PyType_Spec py_share_spec; /* _core.Share; its attribute _Checkpoint is that type */

/* tp_new of those that a reader's methods make. */
PyObject *py_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* Numbers of tensors from a sequence: `*numbers` for PyMem_Free, NULL for None; how many, -1 with an exception. */
Py_ssize_t py_numbers_parse(PyObject *given, size_t **numbers);

/* Hands `memory` over to a new object of `type`; frees it when that fails. */
PyObject *py_memory_new(PyObject *type, struct fst3fs_memory *memory);

/* Methods of Reader that have files of their own. */
PyObject *py_reader_read_many(PyObject *self, PyObject *args);	  /* py_batch.c */
PyObject *py_reader_read_headers(PyObject *self, PyObject *args); /* py_batch.c */
PyObject *py_reader_info(PyObject *self, PyObject *unused);	  /* py_info.c */
PyObject *py_reader_stats(PyObject *self, PyObject *unused);	  /* py_info.c */
PyObject *py_reader_start_many(PyObject *self, PyObject *args);	  /* py_background.c */
PyObject *py_reader_checkpoint(PyObject *self, PyObject *paths);  /* py_checkpoint.c */
PyObject *py_reader_stream(PyObject *self, PyObject *args);	  /* py_stream.c */
PyObject *py_reader_read_tensors(PyObject *self, PyObject *args); /* py_stream.c */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

/* struct fst3fs_info as rows: one row is one key of the dict. */
enum field_type { FIELD_TEXT, FIELD_U32, FIELD_U64, FIELD_ADDRESS };

struct field {
	const char *key;
	size_t at;
	enum field_type type;
};

/* clang-format off */
#define FIELD(name, type) {#name, offsetof(struct fst3fs_info, name), type}
/* clang-format on */

static const struct field fields[] = {
	FIELD(transport, FIELD_TEXT),  FIELD(client, FIELD_TEXT),      FIELD(why_not, FIELD_TEXT),
	FIELD(devices, FIELD_TEXT),    FIELD(iov_base, FIELD_ADDRESS), FIELD(iov_length, FIELD_U64),
	FIELD(buffer_size, FIELD_U64), FIELD(piece_size, FIELD_U64),   FIELD(window, FIELD_U32),
	FIELD(open_files, FIELD_U32),  FIELD(reads, FIELD_U64),	       FIELD(requests, FIELD_U64),
	FIELD(bytes, FIELD_U64),       FIELD(bytes_posix, FIELD_U64),  FIELD(bytes_direct, FIELD_U64),
	FIELD(io_wait_ns, FIELD_U64),  FIELD(copy_wait_ns, FIELD_U64), FIELD(given_up, FIELD_U64),
};

static PyObject *field_value(const struct field *f, const struct fst3fs_info *info)
{
	const char *at = (const char *)info + f->at;

	switch (f->type) {
	case FIELD_TEXT:
		return PyUnicode_DecodeFSDefault(at);
	case FIELD_U32:
		return PyLong_FromUnsignedLong(*(const uint32_t *)at);
	case FIELD_U64:
		return PyLong_FromUnsignedLongLong(*(const uint64_t *)at);
	case FIELD_ADDRESS:
		return PyLong_FromVoidPtr(*(void *const *)at);
	}
	Py_UNREACHABLE();
}

/* Steals `value`. */
static int put(PyObject *dict, const char *key, PyObject *value)
{
	int rc = value ? PyDict_SetItemString(dict, key, value) : -1;

	Py_XDECREF(value);
	return rc;
}

/* True, False, or None while nobody has asked for page-locking. */
static PyObject *page_locked(const struct fst3fs_info *info)
{
	if (info->page_locked < 0)
		Py_RETURN_NONE;
	return PyBool_FromLong(info->page_locked);
}

PyObject *py_reader_info(PyObject *object, PyObject *unused)
{
	struct fst3fs_info info = {.size = sizeof(info)};
	PyObject *dict;
	int rc;

	(void)unused;
	py_call_begin();
	rc = fst3fs_get_info(((struct py_reader *)object)->reader, &info);
	py_call_end();
	if (rc == -ECHILD)
		return PyErr_Format(PyExc_RuntimeError, "this reader belongs to the parent process: make one in the "
							"child, after fork()");
	if (rc < 0)
		return PyErr_Format(PyExc_SystemError, "fst3fs_get_info: error %d", rc);
	dict = PyDict_New();
	if (!dict)
		return NULL;
	rc = put(dict, "page_locked", page_locked(&info));
	for (size_t i = 0; rc == 0 && i < sizeof(fields) / sizeof(*fields); i++)
		rc = put(dict, fields[i].key, field_value(&fields[i], &info));
	if (rc < 0) {
		Py_DECREF(dict);
		return NULL;
	}
	return dict;
}

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
	FIELD(transport, FIELD_TEXT),	FIELD(client, FIELD_TEXT),	  FIELD(why_not, FIELD_TEXT),
	FIELD(devices, FIELD_TEXT),	FIELD(iov_base, FIELD_ADDRESS),	  FIELD(iov_length, FIELD_U64),
	FIELD(buffer_size, FIELD_U64),	FIELD(piece_size, FIELD_U64),	  FIELD(window, FIELD_U32),
	FIELD(open_files, FIELD_U32),	FIELD(reads, FIELD_U64),	  FIELD(requests, FIELD_U64),
	FIELD(bytes, FIELD_U64),	FIELD(bytes_posix, FIELD_U64),	  FIELD(bytes_direct, FIELD_U64),
	FIELD(io_wait_ns, FIELD_U64),	FIELD(copy_wait_ns, FIELD_U64),	  FIELD(given_up, FIELD_U64),
	FIELD(populated, FIELD_U64),	FIELD(populated_huge, FIELD_U64), FIELD(iov_huge, FIELD_U64),
	FIELD(alloc_length, FIELD_U64), FIELD(alloc_huge, FIELD_U64),
};

/* clang-format off */
#define STAT(name) {#name, offsetof(struct fst3fs_stats, name), FIELD_U64}
/* clang-format on */

static const struct field stat_fields[] = {
	STAT(now_ns),	    STAT(reads),
	STAT(requests),	    STAT(bytes),
	STAT(bytes_posix),  STAT(bytes_direct),
	STAT(in_flight),    STAT(in_flight_max),
	STAT(in_flight_ns), STAT(flight_ns),
	STAT(io_wait_ns),   STAT(copy_wait_ns),
	STAT(slot_wait_ns), STAT(consumer_wait_ns),
	STAT(given_up),	    STAT(fallbacks),
	STAT(latency_ns),
};

static PyObject *field_value(const struct field *f, const void *base)
{
	const char *at = (const char *)base + f->at;

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

/* Puts every field into `dict`, which is gone on failure: NULL. */
static PyObject *put_fields(PyObject *dict, const struct field *rows, size_t n, const void *base)
{
	int rc = dict ? 0 : -1;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = put(dict, rows[i].key, field_value(&rows[i], base));
	if (rc < 0)
		Py_CLEAR(dict);
	return dict;
}

static PyObject *refused(int rc, const char *function)
{
	if (rc == -ECHILD)
		return PyErr_Format(PyExc_RuntimeError, "this reader belongs to the parent process: make one in the "
							"child, after fork()");
	return PyErr_Format(PyExc_SystemError, "%s: error %d", function, rc);
}

static PyObject *latency_list(const struct fst3fs_stats *stats)
{
	PyObject *list = PyList_New(FST3FS_LATENCY_BUCKETS);

	for (Py_ssize_t i = 0; list && i < FST3FS_LATENCY_BUCKETS; i++) {
		PyObject *number = PyLong_FromUnsignedLongLong(stats->latency[i]);

		if (!number || PyList_SetItem(list, i, number) < 0)
			Py_CLEAR(list);
	}
	return list;
}

PyObject *py_reader_stats(PyObject *object, PyObject *unused)
{
	struct fst3fs_stats stats = {.size = sizeof(stats)};
	PyObject *dict;
	int rc;

	(void)unused;
	py_call_begin();
	rc = fst3fs_get_stats(((struct py_reader *)object)->reader, &stats);
	py_call_end();
	if (rc < 0)
		return refused(rc, "fst3fs_get_stats");
	dict = put_fields(PyDict_New(), stat_fields, sizeof(stat_fields) / sizeof(*stat_fields), &stats);
	if (dict && put(dict, "latency", latency_list(&stats)) < 0)
		Py_CLEAR(dict);
	return dict;
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
	if (rc < 0)
		return refused(rc, "fst3fs_get_info");
	dict = put_fields(PyDict_New(), fields, sizeof(fields) / sizeof(*fields), &info);
	if (dict && put(dict, "page_locked", page_locked(&info)) < 0)
		Py_CLEAR(dict);
	return dict;
}

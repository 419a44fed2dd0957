/* SPDX-License-Identifier: Apache-2.0 */
#include "py_core.h"

/* The Python state of a thread that is inside a call of the library, NULL outside. Callbacks come on the thread of
 * the call, so that they take the state from here; this also works in a subinterpreter, where PyGILState does not. */
static _Thread_local PyThreadState *released;

void py_call_begin(void)
{
	released = PyEval_SaveThread();
}

void py_call_end(void)
{
	PyThreadState *state = released;

	/* Cleared first: with the GIL back, other code of this thread may begin a call of its own. */
	released = NULL;
	PyEval_RestoreThread(state);
}

static void log_line(PyObject *log, int level, const char *line)
{
	PyObject *type, *value, *traceback, *text, *done;

	/* The call may already have been interrupted by an exception, which must survive the logging. */
	PyErr_Fetch(&type, &value, &traceback);
	text = PyUnicode_DecodeUTF8(line, (Py_ssize_t)strlen(line), "surrogateescape");
	done = text ? PyObject_CallFunction(log, "iO", level, text) : NULL;
	if (!done)
		PyErr_WriteUnraisable(log);
	Py_XDECREF(done);
	Py_XDECREF(text);
	PyErr_Restore(type, value, traceback);
}

void py_call_log(void *ctx, int level, const char *line)
{
	if (!ctx || !released)
		return;
	py_call_end();
	log_line(ctx, level, line);
	py_call_begin();
}

int py_call_interrupted(void *ctx)
{
	int interrupted;

	(void)ctx;
	if (!released)
		return 0;
	py_call_end();
	/* The exception of a signal handler stays pending in the thread until the call has wound up. */
	interrupted = PyErr_Occurred() || PyErr_CheckSignals() < 0;
	py_call_begin();
	return interrupted;
}

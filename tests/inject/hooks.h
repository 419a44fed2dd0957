/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be made to fail, and how each of them fails: X(function, how, errno, another errno or 0).
 *
 * Left out is what has no failure that a program could meet: locks and condition variables (but for waking without a
 * reason), clocks, and unlink() in /dev/shm, to which there is no second way.
 */
/* clang-format off */
#define INJECT_HOOKS(X) \
	/* memory */ \
	X(free, NEVER, 0, 0) \
	X(munmap, NEVER, 0, 0) \
	X(closedir, NEVER, 0, 0) \
	X(malloc, NULL_ERRNO, ENOMEM, 0) \
	X(calloc, NULL_ERRNO, ENOMEM, 0) \
	X(realloc, NULL_ERRNO, ENOMEM, 0) \
	X(reallocarray, NULL_ERRNO, ENOMEM, 0) \
	X(strdup, NULL_ERRNO, ENOMEM, 0) \
	X(strndup, NULL_ERRNO, ENOMEM, 0) \
	X(asprintf, MINUS_ERRNO, ENOMEM, 0) \
	X(tsearch, NULL_ERRNO, ENOMEM, 0) \
	X(mmap64, MINUS_ERRNO, ENOMEM, EAGAIN) \
	X(madvise, MINUS_ERRNO, EINVAL, ENOMEM) \
	X(mincore, MINUS_ERRNO, EAGAIN, ENOSYS) \
	/* files */ \
	X(open64, MINUS_ERRNO, EMFILE, EIO) \
	X(read, MINUS_ERRNO, EIO, EINTR) \
	X(pread64, MINUS_ERRNO, EIO, EINTR) \
	X(close, DONE_ERRNO, EIO, 0) \
	X(fcntl64, MINUS_ERRNO, EMFILE, 0) \
	X(ioctl, MINUS_ERRNO, EIO, 0) \
	X(fstat64, MINUS_ERRNO, EIO, ENOTCONN) \
	X(stat64, MINUS_ERRNO, EIO, ENOTCONN) \
	X(lstat64, MINUS_ERRNO, EIO, 0) \
	X(statx, MINUS_ERRNO, EIO, ENOSYS) \
	X(fstatvfs64, MINUS_ERRNO, EIO, 0) \
	X(access, MINUS_ERRNO, EIO, EACCES) \
	X(ftruncate64, MINUS_ERRNO, ENOSPC, 0) \
	X(fchmod, MINUS_ERRNO, EPERM, 0) \
	X(posix_fallocate64, CODE, ENOSPC, EINTR) \
	X(fopen64, NULL_ERRNO, EMFILE, ENOMEM) \
	X(fgets, NULL_ERRNO, EIO, 0) \
	X(__getdelim, MINUS_ERRNO, ENOMEM, 0) \
	X(fwrite, ZERO_ERRNO, ENOSPC, 0) \
	X(fflush, MINUS_ERRNO, ENOSPC, 0) \
	X(fclose, DONE_ERRNO, ENOSPC, 0) \
	X(opendir, NULL_ERRNO, EMFILE, 0) \
	X(readdir64, NULL_ERRNO, EIO, 0) \
	X(scandir64, MINUS_ERRNO, ENOMEM, 0) \
	X(readlink, MINUS_ERRNO, EIO, 0) \
	X(readlinkat, MINUS_ERRNO, EIO, ENOTCONN) \
	X(realpath, NULL_ERRNO, EIO, ENOMEM) \
	X(symlinkat, MINUS_ERRNO, EIO, ENOTCONN) \
	X(unlinkat, MINUS_ERRNO, EIO, ENOTCONN) \
	/* the rest of the machine */ \
	X(getrandom, MINUS_ERRNO, ENOSYS, 0) \
	X(unshare, MINUS_ERRNO, EPERM, 0) \
	X(syscall, MINUS_ERRNO, ENOSYS, EPERM) \
	X(dlopen, NO_LIBRARY, 0, 0) \
	X(sem_open, NULL_ERRNO, EMFILE, EACCES) \
	X(sem_clockwait, MINUS_ERRNO, EINTR, 0) \
	X(sem_timedwait, MINUS_ERRNO, EINTR, 0) \
	X(pthread_create, CODE, EAGAIN, ENOMEM) \
	X(pthread_setname_np, CODE, EMFILE, 0) \
	X(pthread_cond_wait, CODE, 0, 0) \
	X(pthread_cond_clockwait, CODE, 0, 0) \
	/* Python's */ \
	X(PyDict_New, NO_MEMORY, 0, 0) \
	X(PyDict_SetItem, NO_MEMORY_MINUS, 0, 0) \
	X(PyDict_SetItemString, NO_MEMORY_MINUS, 0, 0) \
	X(PyList_New, NO_MEMORY, 0, 0) \
	X(PyList_Append, NO_MEMORY_MINUS, 0, 0) \
	X(PyLong_FromLongLong, NO_MEMORY, 0, 0) \
	X(PyLong_FromSize_t, NO_MEMORY, 0, 0) \
	X(PyLong_FromSsize_t, NO_MEMORY, 0, 0) \
	X(PyLong_FromUnsignedLong, NO_MEMORY, 0, 0) \
	X(PyLong_FromUnsignedLongLong, NO_MEMORY, 0, 0) \
	X(PyLong_FromVoidPtr, NO_MEMORY, 0, 0) \
	X(PyMem_Calloc, NULL_ERRNO, ENOMEM, 0) \
	X(PyMem_Malloc, NULL_ERRNO, ENOMEM, 0) \
	X(PyNumber_Index, NO_MEMORY, 0, 0) \
	X(PyObject_GetAttrString, NO_MEMORY, 0, 0) \
	X(PyObject_SetAttrString, NO_MEMORY_MINUS, 0, 0) \
	X(PySequence_List, NO_MEMORY, 0, 0) \
	X(PySequence_Tuple, NO_MEMORY, 0, 0) \
	X(PyTuple_New, NO_MEMORY, 0, 0) \
	X(PyType_GenericAlloc, NO_MEMORY, 0, 0) \
	X(PyUnicode_DecodeFSDefault, NO_MEMORY, 0, 0) \
	X(PyUnicode_DecodeUTF8, NO_MEMORY, 0, 0) \
	X(PyUnicode_AsUTF8String, NO_MEMORY, 0, 0) \
	X(PyUnicode_FromString, NO_MEMORY, 0, 0) \
	X(PyUnicode_FSConverter, NO_MEMORY, 0, 0) \
	X(PyUnicode_FromFormat, NO_MEMORY, 0, 0) \
	X(_Py_BuildValue_SizeT, NO_MEMORY, 0, 0) \
	X(_PyObject_CallFunction_SizeT, NO_MEMORY, 0, 0) \
	X(_PyArg_ParseTuple_SizeT, NO_MEMORY, 0, 0) \
	X(_PyArg_ParseTupleAndKeywords_SizeT, NO_MEMORY, 0, 0) \
	X(PyErr_CheckSignals, INTERRUPT, 0, 0)
/* clang-format on */

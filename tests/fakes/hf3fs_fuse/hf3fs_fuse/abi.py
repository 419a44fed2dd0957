# SPDX-License-Identifier: Apache-2.0
"""The structures and functions of include/hf3fs_usrbio.h.

The functions are taken from among the global symbols of the process, as an extension module linked with the library
finds them: whoever imports this must have loaded the library for all to see.
"""

import ctypes
from ctypes import POINTER, c_bool, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any


class Iov(ctypes.Structure):
    _fields_ = (
        ("base", c_void_p),
        ("iovh", c_void_p),
        ("id", c_char * 16),
        ("mount_point", c_char * 256),
        ("size", c_size_t),
        ("block_size", c_size_t),
        ("numa", c_int),
    )


class Ior(ctypes.Structure):
    _fields_ = (
        ("iov", Iov),
        ("iorh", c_void_p),
        ("mount_point", c_char * 256),
        ("for_read", c_bool),
        ("io_depth", c_int),
        ("priority", c_int),
        ("timeout", c_int),
        ("flags", c_uint64),
    )


class Cqe(ctypes.Structure):
    _fields_ = (("index", c_int32), ("reserved", c_int32), ("result", c_int64), ("userdata", c_void_p))


class Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


_process = ctypes.CDLL(None)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_process, "hf3fs_" + name, None)
    if function is None:
        raise ImportError(f"undefined symbol: hf3fs_{name}")
    function.restype = result
    function.argtypes = arguments
    return function


extract_mount_point = _function("extract_mount_point", c_int, c_char_p, c_int, c_char_p)
iovwrap = _function("iovwrap", c_int, POINTER(Iov), c_void_p, c_char_p, c_char_p, c_size_t, c_size_t, c_int)
iorcreate4 = _function("iorcreate4", c_int, POINTER(Ior), c_char_p, c_int, c_bool, c_int, c_int, c_int, c_uint64)
iordestroy = _function("iordestroy", None, POINTER(Ior))
reg_fd = _function("reg_fd", c_int, c_int, c_uint64)
dereg_fd = _function("dereg_fd", None, c_int)
io_entries = _function("io_entries", c_int, POINTER(Ior))
prep_io = _function("prep_io", c_int, POINTER(Ior), POINTER(Iov), c_bool, c_void_p, c_int, c_size_t, c_uint64, c_void_p)
submit_ios = _function("submit_ios", c_int, POINTER(Ior))
wait_for_ios = _function("wait_for_ios", c_int, POINTER(Ior), POINTER(Cqe), c_int, c_int, POINTER(Timespec))

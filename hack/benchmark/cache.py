# SPDX-License-Identifier: Apache-2.0
"""The kernel's page cache of the files that are read: dropping it, and seeing what is left of it.

Reads through the mount are cached, requests through USRBIO are not: without this a second read through the mount
would measure memory.
"""

import ctypes
import mmap
import os
from typing import Iterable

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
_MAP_FAILED = ctypes.c_void_p(-1).value


def _resident_pages(fd: int, size: int) -> int:
    """Of a file's first ``size`` bytes. It maps them and touches none."""
    address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        pages = (ctypes.c_char * -(-size // PAGE))()
        if _libc.mincore(address, size, pages):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        _libc.munmap(address, size)
    return len(pages.raw) - pages.raw.count(0)


def drop(paths: Iterable[str]) -> float:
    """Drops what the kernel keeps of these files; the share of their pages that it keeps all the same."""
    kept = pages = 0
    for path in paths:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(fd).st_size
            if size:
                kept += _resident_pages(fd, size)
                pages += -(-size // PAGE)
        finally:
            os.close(fd)
    return kept / pages if pages else 0.0

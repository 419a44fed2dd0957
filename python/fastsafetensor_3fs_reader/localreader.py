# SPDX-License-Identifier: Apache-2.0
"""What the readers without the C library have in common: files, headers, checks of arguments, a buffer."""

import ctypes
import errno
import mmap
import os
import threading
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import List, Optional, Union

from .headers import read_header
from .interface import FileReaderInterface, Header, PathType, ReadRequest
from .openfiles import Opened, OpenFile, OpenFiles

ADDRESS_LIMIT = 1 << 64


def address_of(buffer: Union[mmap.mmap, memoryview]) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def read_into(file: OpenFile, address: int, offset: int, size: int) -> None:
    """Reads through the operating system. Inside a file a short read is an error, never the end."""
    target = (ctypes.c_char * size).from_address(address)
    done = 0
    while done < size:
        got = os.preadv(file.fd, [memoryview(target)[done:]], offset + done)
        if got == 0:
            raise short_read(file, done, size, offset)
        done += got


def short_read(file: OpenFile, got: int, size: int, offset: int) -> OSError:
    return OSError(errno.EIO, f"short read: {got} of {size} bytes at offset {offset}", file.path)


class LocalReader(FileReaderInterface):
    """A reader in Python. What is left to a subclass is to deliver a range of an open file, and its buffer."""

    def __init__(self, mount_point: PathType, buffer_size: int, opened: Optional[Opened] = None) -> None:
        self._mount_point = os.fsdecode(mount_point)
        if buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, not {buffer_size}")
        self._buffer_size = buffer_size
        self._pid = os.getpid()
        self._files = OpenFiles(opened)
        self._counter_lock = threading.Lock()
        self._reads = self._bytes = 0

    @abstractmethod
    def _deliver(self, file: OpenFile, address: int, offset: int, length: int, chunk_size: int) -> None:
        """Brings bytes that are inside the file to an address, 0 = nowhere."""

    def _read_headers(self, paths: List[PathType], num_threads: int) -> List[Header]:
        self._check_process()
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, not {num_threads}")
        with ThreadPoolExecutor(num_threads) as pool:
            results = [pool.submit(self._header, path) for path in paths]
        for index, result in enumerate(results):
            error = result.exception()
            if error is not None:
                error.index = index  # type: ignore[attr-defined]
                raise error
        return [result.result() for result in results]

    def _read(self, request: ReadRequest, chunk_size: int, pipelined: bool) -> int:
        self._check_process()
        path, dev_ptr, file_offset, total_length = request
        for name, value in (("file_offset", file_offset), ("total_length", total_length), ("chunk_size", chunk_size)):
            if value < 0:
                raise ValueError(f"{os.fsdecode(path)}: {name} must not be negative, as {value} is")
        self._check_address(path, dev_ptr, total_length)
        file = self._files.get(path)
        length = max(0, min(total_length, file.size - file_offset))
        if length:
            self._deliver(file, dev_ptr, file_offset, length, chunk_size)
        with self._counter_lock:
            self._reads += 1
            self._bytes += length
        return length

    def has_fd(self, path: PathType) -> bool:
        return self._files.has(path)

    @property
    def mount_point(self) -> str:
        return self._mount_point

    @property
    def iov_length(self) -> int:
        return self._buffer_size

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("this reader belongs to the parent process: make one in the child, after fork()")

    def _inside_buffer(self, address: int) -> bool:
        return self.iov_base <= address < self.iov_base + self._buffer_size

    def _check_address(self, path: PathType, dev_ptr: int, length: int) -> None:
        if not 0 <= dev_ptr < ADDRESS_LIMIT:
            raise ValueError(f"{os.fsdecode(path)}: dev_ptr must be an address of 64 bits, not {dev_ptr}")
        if self._inside_buffer(dev_ptr) and dev_ptr + length > self.iov_base + self._buffer_size:
            raise ValueError(f"{os.fsdecode(path)}: {length} bytes go beyond the end of the reader's own buffer")

    def _header(self, path: PathType) -> Header:
        file = self._files.get(path)
        return read_header(file.path, file.size, lambda at, size: file.pread(size, at))

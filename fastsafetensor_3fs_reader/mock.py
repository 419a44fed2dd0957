# SPDX-License-Identifier: Apache-2.0
"""A reader of local files for development and tests, on nothing but the standard library."""

import contextlib
import ctypes
import errno
import mmap
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Iterable, Optional

from .headers import read_header
from .interface import FileReaderInterface, Header, PathType
from .mounts import extract_mount_point

__all__ = ["READER", "MockFileReader", "extract_mount_point"]

DEFAULT_BUFFER_SIZE = 64 * 1024 * 1024
ADDRESS_LIMIT = 1 << 64


class _File:
    """An open file. Its fd is closed when the last thread that uses it lets go."""

    def __init__(self, path: PathType) -> None:
        # Non-blocking, so that a FIFO cannot hang the open.
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self.fd)
        self._identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(path))

    def __del__(self) -> None:
        # A file system may refuse even this, when its daemon is gone; the fd is closed all the same.
        if hasattr(self, "fd"):
            with contextlib.suppress(OSError):
                os.close(self.fd)

    def is_at(self, path: PathType) -> bool:
        """Is this still the file of that name?"""
        status = os.stat(path)
        return self._identity == (status.st_dev, status.st_ino)

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size


class MockFileReader(FileReaderInterface):
    """The same methods on local files. Keywords of the other readers are taken, and those without meaning ignored."""

    def __init__(self, mount_point: PathType = "", **kwargs: object) -> None:
        self._mount_point = os.fsdecode(mount_point)
        self._buffer_size = int(str(kwargs.get("buffer_size", DEFAULT_BUFFER_SIZE)))
        if self._buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, not {self._buffer_size}")
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._files: Dict[bytes, _File] = {}
        self._buffer: Optional[mmap.mmap] = None
        self._reads = self._bytes = 0

    def read_headers_batch(self, paths: Iterable[PathType], num_threads: int = 8) -> Dict[PathType, Header]:
        self._check_process()
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, not {num_threads}")
        wanted = list(paths)
        with ThreadPoolExecutor(num_threads) as pool:
            results = [pool.submit(self._header, path) for path in wanted]
        for index, result in enumerate(results):
            error = result.exception()
            if error is not None:
                error.index = index  # type: ignore[attr-defined]
                raise error
        return {path: result.result() for path, result in zip(wanted, results)}

    def read_chunked(
        self,
        path: PathType,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = True,
    ) -> int:
        self._check_process()
        for name, value in (("file_offset", file_offset), ("total_length", total_length), ("chunk_size", chunk_size)):
            if value < 0:
                raise ValueError(f"{os.fsdecode(path)}: {name} must not be negative, as {value} is")
        self._check_address(path, dev_ptr, total_length)
        file = self._open(path)
        length = max(0, min(total_length, file.size - file_offset))
        step = min(chunk_size or self._buffer_size, self._buffer_size)
        done = 0
        while done < length:
            size = min(step, length - done)
            to = dev_ptr + done if dev_ptr else self.iov_base
            done += self._read_into(file, path, to, file_offset + done, size)
        with self._lock:
            self._reads += 1
            self._bytes += done
        return done

    def has_fd(self, path: PathType) -> bool:
        with self._lock:
            return os.fsencode(path) in self._files

    def info(self) -> Dict[str, object]:
        return {
            "backend": "mock",
            "mount_point": self._mount_point,
            "transport": "posix",
            "client": "",
            "why_not": "the mock reader reads local files",
            "devices": "host" if self._reads else "",
            "page_locked": False,
            "iov_base": self.iov_base,
            "iov_length": self.iov_length,
            "buffer_size": self._buffer_size,
            "open_files": len(self._files),
            "reads": self._reads,
            "bytes": self._bytes,
        }

    def close(self) -> None:
        with self._lock:
            self._files.clear()
            self._buffer = None

    @property
    def mount_point(self) -> str:
        return self._mount_point

    @property
    def iov_base(self) -> int:
        with self._lock:
            if self._buffer is None:
                self._buffer = mmap.mmap(-1, self._buffer_size)
            return ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))

    @property
    def iov_length(self) -> int:
        return self._buffer_size

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("this reader belongs to the parent process: make one in the child, after fork()")

    def _check_address(self, path: PathType, dev_ptr: int, length: int) -> None:
        if not 0 <= dev_ptr < ADDRESS_LIMIT:
            raise ValueError(f"{os.fsdecode(path)}: dev_ptr must be an address of 64 bits, not {dev_ptr}")
        base = self.iov_base
        if base <= dev_ptr < base + self._buffer_size < dev_ptr + length:
            raise ValueError(f"{os.fsdecode(path)}: {length} bytes go beyond the end of the reader's own buffer")

    def _open(self, path: PathType) -> _File:
        """The open file of that name, opened anew when another one has taken its place."""
        key = os.fsencode(path)
        with self._lock:
            file = self._files.pop(key, None)
            if file is None or not file.is_at(path):
                file = _File(path)
            self._files[key] = file
            return file

    def _header(self, path: PathType) -> Header:
        file = self._open(path)
        return read_header(os.fsdecode(path), file.size, lambda at, size: os.pread(file.fd, size, at))

    def _read_into(self, file: _File, path: PathType, address: int, offset: int, size: int) -> int:
        """One request. Inside the file a short read is an error, never the end."""
        target = (ctypes.c_char * size).from_address(address)
        got = os.preadv(file.fd, [target], offset)
        if got != size:
            raise OSError(errno.EIO, f"short read: {got} of {size} bytes at {offset}", os.fsdecode(path))
        return got


READER = MockFileReader

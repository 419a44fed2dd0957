# SPDX-License-Identifier: Apache-2.0
"""A reader of local files for development and tests, on nothing but the standard library."""

import mmap
import threading
from typing import Dict, Optional

from .interface import PathType
from .localreader import LocalReader, address_of, read_into
from .mounts import extract_mount_point
from .openfiles import OpenFile
from .settings import DEFAULT_BUFFER_SIZE

__all__ = ["READER", "MockFileReader", "extract_mount_point"]


class MockFileReader(LocalReader):
    """The same methods on local files. Keywords of the other readers are taken, and those without meaning ignored."""

    def __init__(self, mount_point: PathType = "", **kwargs: object) -> None:
        super().__init__(mount_point, int(str(kwargs.get("buffer_size", DEFAULT_BUFFER_SIZE))))
        self._lock = threading.Lock()
        self._buffer: Optional[mmap.mmap] = None

    def _deliver(self, file: OpenFile, address: int, offset: int, length: int, chunk_size: int) -> None:
        step = min(chunk_size or self._buffer_size, self._buffer_size)
        scratch = self._scratch()  # held, whatever close() does meanwhile
        for at in range(0, length, step):
            read_into(file, address + at if address else address_of(scratch), offset + at, min(step, length - at))

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
        self._files.take_all()
        with self._lock:
            self._buffer = None

    @property
    def iov_base(self) -> int:
        return address_of(self._scratch())

    def _scratch(self) -> mmap.mmap:
        with self._lock:
            if self._buffer is None:
                self._buffer = mmap.mmap(-1, self._buffer_size)
            return self._buffer


READER = MockFileReader

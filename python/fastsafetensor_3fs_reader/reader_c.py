# SPDX-License-Identifier: Apache-2.0
"""The reader of backend "c": a thin face on the C library."""

import logging
import os
import sys
import time
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from . import _core
from .hf3fs_lib import Candidate, candidates, load
from .interface import FileReaderInterface, Header, PathType, ReadRequest
from .settings import debug_enabled, resolve

_logger = logging.getLogger(__package__)
DEFAULT_BUFFER_SIZE = 64 * 1024 * 1024


def _usrbio_client(wish: str) -> Tuple[int, str, List[Candidate]]:
    """Which USRBIO client to use, the official library's path if it is that one, and what was found of libraries.

    A library directory in the environment is an explicit wish for it, so that "auto" then means "sdk".
    """
    if wish == "builtin" or (wish == "auto" and not os.environ.get("HF3FS_LIB_DIR")):
        return _core.USRBIO_BUILTIN, "", candidates()
    path, judged = load()
    return _core.USRBIO_SDK, path, judged


class ThreeFSFileReader(FileReaderInterface):
    """Reads files through USRBIO where they are on 3FS, and through the operating system elsewhere.

    ``entries`` bounds the requests in flight, ``buffer_size`` is all the staging memory it takes, ``io_depth`` is a
    hint. The other settings are also environment variables FST3FS_<NAME>; the argument wins:

    timeout   seconds a read may go without any completion
    usrbio    which USRBIO client: "auto", "sdk" (the official library) or "builtin"
    require   "usrbio": fail rather than read through the operating system
    """

    def __init__(
        self,
        mount_point: PathType,
        entries: int = 64,
        io_depth: int = 0,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        *,
        timeout: Optional[float] = None,
        usrbio: Optional[str] = None,
        require: Optional[str] = None,
    ) -> None:
        client, library, self._libraries = _usrbio_client(str(resolve("usrbio", usrbio)))
        self._mount_point = os.fsdecode(mount_point)
        self._debug = debug_enabled()
        self._reader = _core.Reader(
            mount_point,
            entries,
            io_depth,
            buffer_size,
            round(float(str(resolve("timeout", timeout))) * 1000),
            usrbio=client,
            sdk_path=library,
            require_usrbio=resolve("require", require) == "usrbio",
            log=_logger.log,
            log_level=_logger.getEffectiveLevel(),
        )

    def read_headers_batch(self, paths: Iterable[PathType], num_threads: int = 8) -> Dict[PathType, Header]:
        wanted = list(paths)
        return dict(zip(wanted, self._reader.read_headers(wanted, num_threads)))

    def read_chunked(
        self,
        path: PathType,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = True,
    ) -> int:
        flags = 0 if pipelined else _core.READ_IN_TURN
        if not self._debug:
            return self._reader.read(path, dev_ptr, file_offset, total_length, chunk_size, flags)
        start, before = time.monotonic(), self._reader.info()
        got = self._reader.read(path, dev_ptr, file_offset, total_length, chunk_size, flags)
        self._print_read(path, file_offset, got, time.monotonic() - start, before)
        return got

    def read_many(self, requests: Sequence[ReadRequest], chunk_size: int = 0, pipelined: bool = True) -> List[int]:
        return self._reader.read_many(requests, chunk_size, 0 if pipelined else _core.READ_IN_TURN)

    def alloc(self, nbytes: int) -> "_core.Memory":
        """Host memory that reads reach without a copy: ``address``, ``nbytes``, and the buffer protocol.

        It is released when the last reference to it, or to a view of it, goes.
        """
        return self._reader.alloc(nbytes)

    @property
    def core(self) -> "_core.Reader":
        """The C library's reader, for what this package builds on it."""
        return self._reader

    def has_fd(self, path: PathType) -> bool:
        return self._reader.has_file(path)

    def info(self) -> Dict[str, object]:
        return {
            "backend": "c",
            "version": _core.version,
            "mount_point": self._mount_point,
            "libraries": [tuple(candidate) for candidate in self._libraries],
            **self._reader.info(),
        }

    def close(self) -> None:
        self._reader.release()

    @property
    def mount_point(self) -> str:
        return self._mount_point

    @property
    def iov_base(self) -> int:
        return self._reader.info()["iov_base"]

    @property
    def iov_length(self) -> int:
        return self._reader.info()["iov_length"]

    def _print_read(self, path: PathType, offset: int, got: int, seconds: float, before: "_core.Info") -> None:
        """One line for one read. With several threads the counters are those of all of them together."""
        now = self._reader.info()
        waits = (now["io_wait_ns"] - before["io_wait_ns"], now["copy_wait_ns"] - before["copy_wait_ns"])
        print(
            f"fst3fs: {os.fsdecode(path)} at {offset}: {got} bytes in {seconds * 1e3:.3f} ms,"
            f" {now['requests'] - before['requests']} requests of up to {now['piece_size']} bytes,"
            f" waited {waits[0] / 1e6:.3f} ms for I/O and {waits[1] / 1e6:.3f} ms for copies, {now['transport']}",
            file=sys.stderr,
            flush=True,
        )


READER = ThreeFSFileReader


def extract_mount_point(path: PathType) -> str:
    """The 3FS mount point of a path, "" when it is on none."""
    return _core.mount_point(path)

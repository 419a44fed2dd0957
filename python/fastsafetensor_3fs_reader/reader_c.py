# SPDX-License-Identifier: Apache-2.0
"""The reader of backend "c": a thin face on the C library."""

import logging
import os
import sys
import time
from typing import Any, Dict, List, Sequence, Tuple

from . import _core
from .hf3fs_lib import Candidate, candidates, load
from .interface import Header, PathType, ReadRequest
from .stats import Stats
from .threefs import Arguments, ThreeFSReader

_logger = logging.getLogger(__package__)


def _usrbio_client(wish: str) -> Tuple[int, str, List[Candidate]]:
    """Which USRBIO client to use, the official library's path if it is that one, and what was found of libraries.

    A library directory in the environment is an explicit wish for it, so that "auto" then means "sdk".
    """
    if wish == "builtin" or (wish == "auto" and not os.environ.get("HF3FS_LIB_DIR")):
        return _core.USRBIO_BUILTIN, "", candidates()
    path, judged = load()
    return _core.USRBIO_SDK, path, judged


class ThreeFSFileReader(ThreeFSReader):
    def _start(self, arguments: Arguments) -> None:
        client, library, self._libraries = _usrbio_client(arguments.usrbio)
        self._mount_point = arguments.mount_point
        #: Seconds a read may go without any completion.
        self.timeout = arguments.timeout_s
        self._reader = _core.Reader(
            arguments.mount_point,
            arguments.entries,
            arguments.io_depth,
            arguments.buffer_size,
            round(arguments.timeout_s * 1000),
            usrbio=client,
            sdk_path=library,
            require_usrbio=arguments.require_usrbio,
            log=_logger.log,
            log_level=_logger.getEffectiveLevel(),
            trace=arguments.trace,
            populate=arguments.populate,
        )

    def _read_headers(self, paths: List[PathType], num_threads: int) -> List[Header]:
        return self._reader.read_headers(paths, num_threads)

    def _read(self, request: ReadRequest, chunk_size: int, pipelined: bool) -> int:
        flags = 0 if pipelined else _core.READ_IN_TURN
        if not self._debug:
            return self._reader.read(*request, chunk_size, flags)
        start, before = time.monotonic(), self._reader.info()
        got = self._reader.read(*request, chunk_size, flags)
        path, _, offset, _ = request
        self._print_read(path, offset, got, time.monotonic() - start, before)
        return got

    def read_many(self, requests: Sequence[ReadRequest], chunk_size: int = 0, pipelined: bool = True) -> List[int]:
        return self._reader.read_many(requests, chunk_size, 0 if pipelined else _core.READ_IN_TURN)

    def start_many(self, requests: Sequence[ReadRequest], chunk_size: int = 0) -> "_core.Batch":
        """Starts to read many ranges in the background, and returns at once.

        Of what is returned, ``wait(i)`` waits until range i is there and says how many bytes (fewer only at the end of
        the file) or raises its error, ``is_ready(i)`` says whether that would return at once, ``finish()`` waits for
        all and raises the first error, and ``cancel()`` ends it. After either of the last two nothing is in flight.
        Any number of threads may wait. Destinations, all on one device, must stay valid until it has ended; dropped,
        it is cancelled.
        """
        return self._reader.start_many(requests, chunk_size)

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

    def stats(self) -> Stats:
        """What was counted so far; always on. ``later.since(earlier)`` is what happened between the two."""
        counted: Dict[str, Any] = dict(self._reader.stats())
        return Stats(**counted)

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

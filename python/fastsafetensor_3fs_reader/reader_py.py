# SPDX-License-Identifier: Apache-2.0
"""The reader of backend "python": USRBIO through hf3fs_fuse.io where that is installed, the operating system elsewhere.

It reads a window of requests, copies what has landed, and goes on: ``pipelined`` and ``usrbio`` mean nothing here.
"""

import errno
import importlib
import logging
import mmap
import os
import sys
import threading
import time
from importlib.util import find_spec
from types import ModuleType
from typing import Callable, Dict, Iterator, List, Optional, Set, Tuple

from .gpucopy import HOST, Destination, find_destination
from .hf3fs_lib import BINDING, Candidate, candidates, load
from .hf3fs_ring import Request, UsrbioRing
from .interface import ReadRequest
from .localreader import LocalReader, address_of, read_into, short_read
from .mounts import extract_mount_point
from .openfiles import OpenFile
from .threefs import Arguments, ThreeFSReader

__all__ = ["READER", "ThreeFSFileReader", "ThreeFSFileReaderPy", "check_library", "extract_mount_point"]

INTERFACE = "hf3fs_fuse.io"
#: One request: less costs more requests than it gains overlap, more is cut up by the daemon anyway.
MIN_PIECE, MAX_PIECE = 64 * 1024, 8 * 1024 * 1024
PAGE = 4096

_logger = logging.getLogger(__package__)


def _import_interface() -> Tuple[Optional[ModuleType], str, List[Candidate]]:
    """hf3fs_fuse.io, or why not; and what became of the libraries that it may need."""
    try:
        if find_spec(INTERFACE) is None:
            return None, f"{INTERFACE} is not installed", candidates()
    except ModuleNotFoundError as e:
        return None, f"{INTERFACE} is not installed: {e}", candidates()
    judged: List[Candidate] = []
    try:
        judged = load()[1]
    except FileNotFoundError as e:
        _logger.debug("%s; %s may have a library of its own", e, BINDING)
        judged = candidates()
    try:
        return importlib.import_module(INTERFACE), "", judged
    except ImportError as e:
        return None, f"{INTERFACE} is installed, but does not load: {e}", judged


def check_library() -> bool:
    """Can this process speak USRBIO through hf3fs_fuse.io? Without it the reader goes through the operating system."""
    return _import_interface()[0] is not None


def _check_mount_point(mount_point: str) -> str:
    """The 3FS mount that it is on, "" for none."""
    if not mount_point:
        return ""
    os.stat(mount_point)
    return extract_mount_point(mount_point)


class ThreeFSFileReader(ThreeFSReader, LocalReader):
    def _start(self, arguments: Arguments) -> None:
        entries, buffer_size = arguments.entries, arguments.buffer_size
        if entries < 1:
            raise ValueError(f"entries must be at least 1, not {entries}")
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if buffer_size > memory:
            raise ValueError(f"buffer_size is {buffer_size}, must be between 1 and this machine's {memory}")
        LocalReader.__init__(self, arguments.mount_point, buffer_size, self._opened)
        self._timeout = arguments.timeout_s
        self._required = arguments.require_usrbio
        self._entries = entries
        self._piece = min(MAX_PIECE, max(MIN_PIECE, buffer_size // entries // PAGE * PAGE), buffer_size)
        self._lock = threading.RLock()  # one read at a time has the buffer
        self._ring: Optional[UsrbioRing] = None
        self._scratch: Optional[mmap.mmap] = None
        self._devices: Set[str] = set()
        self._requests = self._bytes_posix = self._given_up = 0
        self._said: Set[str] = set()
        self._mount = _check_mount_point(self._mount_point)
        self._io: Optional[ModuleType] = None
        self._libraries: List[Candidate] = []
        self._why_not = self._choose()
        self._ensure_buffer()
        self._log_way()

    # ------------------------------------------------------------------ which way

    def _choose(self) -> str:
        """Why USRBIO is not used, or ""."""
        if not self._mount:
            where = (
                f"{self._mount_point} is not on a 3FS mount" if self._mount_point else "no 3FS mount point was given"
            )
            self._libraries = candidates()
        else:
            self._io, where, self._libraries = _import_interface()
            self._device = os.stat(self._mount).st_dev
        if self._io is None and self._required:
            raise OSError(
                errno.ENOTSUP, f"{where}, and reading through the operating system is ruled out", self._mount_point
            )
        return where

    def _log_way(self) -> None:
        _logger.info(
            "reader: backend=python transport=%s%s mount=%s buffer=%d piece=%d window=%d%s",
            self._transport,
            f" client={self._client}" if self._client else "",
            self._mount or "-",
            self._buffer_size,
            self._piece,
            self._window(self._piece),
            f"; nothing better because {self._why_not}" if self._why_not else "",
        )

    def _say_once(self, level: int, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            _logger.log(level, "%s", line)

    @property
    def _transport(self) -> str:
        return "posix" if self._io is None else "usrbio"

    @property
    def _client(self) -> str:
        return "" if self._io is None else str(self._io.__file__)

    # ------------------------------------------------------------------ what is held

    def _opened(self, file: OpenFile) -> Optional[Callable[[], None]]:
        """A file of the mount is made known to the interface, and forgotten before its number is used again."""
        io, fd = self._io, file.fd
        if io is None or file.device != self._device:
            return None
        io.register_fd(fd)
        return lambda: io.deregister_fd(fd)

    def _ensure_buffer(self) -> int:
        """The address of the buffer, made anew after it was closed or given up."""
        with self._lock:
            if self._io is None:
                if self._scratch is None:
                    self._scratch = mmap.mmap(-1, self._buffer_size)
                return address_of(self._scratch)
            if self._ring is None:
                self._ring = UsrbioRing(
                    self._io, self._mount, min(self._entries, self._buffer_size), self._buffer_size, self._timeout
                )
            return self._ring.base

    def _give_up(self) -> None:
        """Buffer and ring with requests that never came back are never used again. Nothing here waits for the mount."""
        ring, self._ring = self._ring, None
        files = self._files.take_all()
        self._given_up += 1
        threading.Thread(target=files.clear, name="fst3fs-close", daemon=True).start()
        if ring is not None:
            ring.close(timeout=0)

    def close(self) -> None:
        self._check_process()
        with self._lock:
            self._files.take_all()
            ring, self._ring = self._ring, None
            self._scratch = None
            if ring is not None:
                ring.close()

    def __del__(self) -> None:
        ring = getattr(self, "_ring", None)
        if ring is not None and os.getpid() == self._pid:
            ring.close()

    # ------------------------------------------------------------------ reading

    def _read(self, request: ReadRequest, chunk_size: int, pipelined: bool) -> int:
        if pipelined:
            self._say_once(logging.DEBUG, "pipelined=True means nothing to the Python backend")
        if not self._debug:
            return super()._read(request, chunk_size, pipelined)
        start, before = time.monotonic(), self._requests
        got = super()._read(request, chunk_size, pipelined)
        path, _, offset, _ = request
        print(
            f"fst3fs: {os.fsdecode(path)} at {offset}: {got} bytes in {(time.monotonic() - start) * 1e3:.3f} ms,"
            f" {self._requests - before} requests, {self._transport}",
            file=sys.stderr,
            flush=True,
        )
        return got

    def _deliver(self, file: OpenFile, address: int, offset: int, length: int, chunk_size: int) -> None:
        with self._lock:
            base = self._ensure_buffer()
            inside = base <= address < base + self._buffer_size
            destination = HOST if inside or not address else find_destination(address)
            if address:
                self._devices.add(destination.name)
            if self._io is not None and file.device == self._device:
                self._through_ring(file, address, offset, length, chunk_size, destination, inside)
                return
            self._off_mount(file)
            self._through_system(file, address, offset, length, chunk_size, destination)

    def _off_mount(self, file: OpenFile) -> None:
        if self._required:
            raise OSError(
                errno.ENOTSUP, f"not on the 3FS mount {self._mount}, and reading otherwise is ruled out", file.path
            )
        if self._io is not None:
            self._say_once(
                logging.INFO, f"{file.path} is not on the mount {self._mount}: read through the operating system"
            )

    def _through_system(
        self, file: OpenFile, address: int, offset: int, length: int, chunk_size: int, destination: Destination
    ) -> None:
        base = self._ensure_buffer()
        step = min(chunk_size or self._buffer_size, self._buffer_size)
        direct = address != 0 and destination is HOST
        for at in range(0, length, step):
            size = min(step, length - at)
            read_into(file, address + at if direct else base, offset + at, size)
            if address and not direct:
                destination.copy(address + at, base, size)
            self._requests += 1
            self._bytes_posix += size

    def _window(self, piece: int) -> int:
        return max(1, min(self._entries, self._buffer_size // piece))

    def _windows(
        self, file: OpenFile, address: Optional[int], offset: int, length: int, piece: int
    ) -> Iterator[List[Request]]:
        """Whole windows of requests. ``address`` is where in the buffer the data goes; None = anywhere."""
        window = self._window(piece)
        for begin in range(0, length, window * piece):
            pieces = range(begin, min(length, begin + window * piece), piece)
            yield [
                Request(
                    file.fd,
                    offset + at,
                    min(piece, length - at),
                    at - begin if address is None else address + at,
                )
                for at in pieces
            ]

    def _through_ring(
        self,
        file: OpenFile,
        address: int,
        offset: int,
        length: int,
        chunk_size: int,
        destination: Destination,
        inside: bool,
    ) -> None:
        piece = min(self._piece, chunk_size or self._piece)
        base = self._ensure_buffer()
        for requests in self._windows(file, address - base if inside else None, offset, length, piece):
            self._collect(file, requests)
            if address and not inside:
                size = sum(request.length for request in requests)
                destination.copy(address + requests[0].offset - offset, base + requests[0].at, size)

    def _collect(self, file: OpenFile, requests: List[Request]) -> None:
        """One window. All of it has come back, or the buffer was given up, before an error is raised."""
        assert self._ring is not None, "the buffer is there by now"
        try:
            results = self._ring.read(requests)
        except BaseException as e:
            self._give_up()
            if isinstance(e, OSError) and e.filename is None:
                raise OSError(e.errno, e.strerror, file.path) from None
            raise
        self._requests += len(requests)
        for request, result in zip(requests, results):
            if result < 0:
                text = f"{os.strerror(-result)} (the daemon's answer for offset {request.offset})"
                raise OSError(-result, text, file.path)
            if result != request.length:
                raise short_read(file, result, request.length, request.offset)

    # ------------------------------------------------------------------ what is in use

    def info(self) -> Dict[str, object]:
        return {
            "backend": "python",
            "mount_point": self._mount_point,
            "transport": self._transport,
            "client": self._client,
            "libraries": [tuple(candidate) for candidate in self._libraries],
            "why_not": self._why_not,
            "devices": ",".join(sorted(self._devices)),
            "page_locked": False,
            "iov_base": self.iov_base,
            "iov_length": self.iov_length,
            "buffer_size": self._buffer_size,
            "piece_size": self._piece,
            "window": self._window(self._piece),
            "open_files": len(self._files),
            "reads": self._reads,
            "requests": self._requests,
            "bytes": self._bytes,
            "bytes_posix": self._bytes_posix,
            "given_up": self._given_up,
        }

    @property
    def iov_base(self) -> int:
        self._check_process()
        return self._ensure_buffer()


READER = ThreeFSFileReader
#: The name by which the package before this one offered it.
ThreeFSFileReaderPy = ThreeFSFileReader

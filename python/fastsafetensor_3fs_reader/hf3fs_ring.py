# SPDX-License-Identifier: Apache-2.0
"""USRBIO through hf3fs_fuse.io, the Python interface of 3FS: a buffer, a ring, and windows of requests on them."""

import atexit
import contextlib
import ctypes
import errno
import os
import queue
import threading
import time
import weakref
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from multiprocessing.shared_memory import SharedMemory
from types import ModuleType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .localreader import address_of
from .owner import owner_name

SHM = "/dev/shm"
#: A hole in a file is an error, not zeros.
FORBID_HOLES = 2
#: How often a wait looks whether it was interrupted.
GLANCE_S = 0.1
#: How long an orderly end waits for the mount.
END_S = 5.0


class Request(NamedTuple):
    """One request: ``length`` bytes at ``offset`` of a file to ``at`` in the buffer."""

    fd: int
    offset: int
    length: int
    at: int


# ------------------------------------------------------------------ the registering thread


class Registrar:
    """A thread that registers on a mount, and that alone hangs when its daemon does.

    The daemon knows a registration by the thread that made it, and clears away what a thread registered when the
    directory that this thread opened is closed.
    """

    def __init__(self, mount_point: str) -> None:
        self._path = os.path.join(mount_point, "3fs-virt", "iovs")
        self.directory = -1
        self._jobs: queue.SimpleQueue[Optional[Tuple[Callable[[], Any], Future[Any]]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fst3fs-register", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], Any], timeout: float) -> Any:
        """Runs it there, and gives its result; TimeoutError when the mount does not answer."""
        future = self.post(function)
        try:
            return future.result(timeout)
        except FutureTimeout:
            raise TimeoutError(errno.ETIMEDOUT, f"the daemon did not answer for {timeout:g} s", self._path) from None

    def post(self, function: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        self._jobs.put((function, future))
        return future

    def open(self) -> None:
        self.directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def end(self, timeout: float) -> None:
        self._jobs.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                break
            function, future = job
            try:
                future.set_result(function())
            except BaseException as e:
                future.set_exception(e)
            # What a job made must not live until the next one comes.
            del job, function, future
        self.close_directory()

    def close_directory(self) -> None:
        if self.directory >= 0:
            os.close(self.directory)
            self.directory = -1


# ------------------------------------------------------------------ shared memory


def _no_space(fd: int, code: int, size: int, path: str) -> OSError:
    there = os.fstatvfs(fd)
    return OSError(
        code,
        f"{os.strerror(code)}: a buffer of {size} bytes does not fit into {SHM}, where"
        f" {there.f_bavail * there.f_frsize} are free: make it larger (containers: --shm-size, or share the host's with"
        " --ipc=host) or ask for a smaller buffer_size",
        path,
    )


def _reserve(shm: SharedMemory) -> None:
    """Takes the memory now: when it is used would be too late, with a signal that ends the process."""
    path = os.path.join(SHM, shm.name)
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        there = os.fstatvfs(fd)
        # Asked first: taking it bit by bit would fill the memory of the machine before it fails. 0 = no limit.
        if there.f_blocks and shm.size > there.f_bavail * there.f_frsize:
            raise _no_space(fd, errno.ENOSPC, shm.size, path)
        try:
            os.posix_fallocate(fd, 0, shm.size)
        except OSError as e:
            raise _no_space(fd, e.errno or errno.ENOSPC, shm.size, path) from None
    finally:
        os.close(fd)


class _Registered:
    """What the registering thread has made. Let go of there as well: the interface deregisters in destructors."""

    def __init__(self, io: ModuleType, mount_point: str, entries: int, size: int) -> None:
        self.shm = SharedMemory(name=owner_name(), create=True, size=size)
        self.iov: Any = None
        self.ring: Any = None
        try:
            _reserve(self.shm)
            self.iov = io.make_iovec(self.shm, mount_point)
            # Every request is a job of its own, so that none waits for others.
            self.ring = io.make_ioring(mount_point, entries, io_depth=1, flags=FORBID_HOLES)
        except BaseException:
            self.release()
            raise
        finally:
            self.shm.unlink()  # both sides have it mapped: nothing of it stays behind, however this process ends

    def release(self) -> None:
        self.ring = self.iov = None
        with contextlib.suppress(BufferError):  # who still looks at it ends it
            self.shm.close()

    def abandon(self) -> None:
        """In a child made by fork(): their destructors, which would deregister the parent's, must never run."""
        for made in (self.ring, self.iov):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))


# ------------------------------------------------------------------ the transport


class UsrbioRing:
    """A buffer of ``size`` bytes and a ring on a mount. One caller at a time."""

    def __init__(self, io: ModuleType, mount_point: str, entries: int, size: int, timeout: float) -> None:
        self._timeout = timeout
        self._registrar = Registrar(mount_point)
        made: List[_Registered] = []

        def register() -> None:
            self._registrar.open()
            # Twice the room: a request leaves the ring only when those before it have finished.
            made.append(_Registered(io, mount_point, 2 * entries, size))

        try:
            self._registrar.call(register, timeout)
        except BaseException:
            self._registrar.post(made.clear)
            self._registrar.end(0)
            raise
        self._made = made
        buffer = made[0].shm.buf
        assert buffer is not None, "it is open until it is released"
        self.base = address_of(buffer)
        _live.add(self)

    def read(self, requests: Sequence[Request]) -> List[int]:
        """One window: every request's bytes, or a negative errno, when all of them have come back."""
        results: Dict[int, int] = {}
        waiting = list(enumerate(requests))
        pending = 0
        deadline = time.monotonic() + self._timeout
        while waiting or pending:
            sent = self._send(waiting)
            del waiting[:sent]
            pending += sent
            for slice_ in self._made[0].ring.wait(max_results=pending, min_results=1, timeout=GLANCE_S):
                if slice_.userdata in results or slice_.userdata not in range(len(requests)):
                    raise OSError(errno.EPROTO, f"the ring speaks of a request {slice_.userdata!r} that is not in it")
                results[slice_.userdata] = slice_.result
                pending -= 1
                deadline = time.monotonic() + self._timeout
            if time.monotonic() > deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"no completion for {self._timeout:g} s with {pending} requests in flight: the daemon hangs or is"
                    " gone; the buffer was given up",
                )
        return [results[number] for number in range(len(requests))]

    def _send(self, waiting: Sequence[Tuple[int, Request]]) -> int:
        """Sends as many as there is room for: how many."""
        made, sent = self._made[0], 0
        for number, request in waiting:
            try:
                part = made.iov[request.at : request.at + request.length]
                made.ring.prepare(part, True, request.fd, request.offset, userdata=number)
            except OSError as e:
                if e.errno == errno.EAGAIN:
                    break
                raise
            sent += 1
        if sent:
            made.ring.submit()
        return sent

    def close(self, timeout: float = END_S) -> None:
        """Deregisters; ``timeout`` 0 leaves all of that to the thread, as for a daemon that hangs."""
        made, self._made = self._made, []
        _live.discard(self)

        def release() -> None:
            made.pop().release()

        if made:
            self._registrar.post(release)
            del release
            self._registrar.end(timeout)

    def abandon(self) -> None:
        self._registrar.close_directory()  # a copy, which would keep alive what the parent registered
        for made in self._made:
            made.abandon()


_live: "weakref.WeakSet[UsrbioRing]" = weakref.WeakSet()


def _for_each(method: Callable[[UsrbioRing], None]) -> None:
    for ring in list(_live):
        method(ring)


os.register_at_fork(after_in_child=lambda: _for_each(UsrbioRing.abandon))
# While there are threads: later they do not run any more, and whoever waits for one waits in vain.
atexit.register(_for_each, UsrbioRing.close)

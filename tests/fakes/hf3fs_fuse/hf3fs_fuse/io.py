# SPDX-License-Identifier: Apache-2.0
"""hf3fs_fuse.io: the same functions, objects and traps, among them that destructors deregister."""

import ctypes
import errno
import os
import time
import uuid
from datetime import timedelta
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Dict, List, Optional, Union

from . import abi


def _check(rc: int, what: str) -> int:
    if rc < 0:
        raise OSError(-rc, f"{what}: {os.strerror(-rc)}")
    return rc


def extract_mount_point(path: str) -> Optional[str]:
    buffer = ctypes.create_string_buffer(4096)
    length = abi.extract_mount_point(buffer, len(buffer), os.fsencode(path))
    return None if length <= 0 else os.fsdecode(buffer.value)


def register_fd(fd: int) -> None:
    rc = abi.reg_fd(fd, 0)
    if rc > 0:
        raise OSError(rc, f"hf3fs_reg_fd: {os.strerror(rc)}")


def deregister_fd(fd: int) -> None:
    abi.dereg_fd(fd)


class IovSlice:
    """A range of an iovec. A ring gives it back with ``result`` and ``userdata``."""

    def __init__(self, iov: abi.Iov, start: int, stop: int) -> None:
        self.iov, self.start, self.stop = iov, start, stop
        self.result: Optional[int] = None
        self.userdata: Any = None


class Iovec:
    def __init__(self, shm: SharedMemory, mount_point: str, block_size: int, numa: int) -> None:
        name = uuid.uuid4()
        suffix = f".b{block_size}" if block_size else ""
        link = f"{mount_point}/3fs-virt/iovs/{name}{suffix}"
        os.symlink(f"/dev/shm/{shm.name}", link)
        self.link = link
        self._view = shm.buf
        self._iov = abi.Iov()
        base = ctypes.addressof(ctypes.c_char.from_buffer(shm.buf))
        rc = abi.iovwrap(self._iov, base, name.bytes, os.fsencode(mount_point), shm.size, block_size, numa)
        _check(rc, "hf3fs_iovwrap")

    def __del__(self) -> None:
        if hasattr(self, "link"):
            os.unlink(self.link)

    def __getitem__(self, key: slice) -> IovSlice:
        start, stop, step = key.indices(self._iov.size)
        if step != 1:
            raise ValueError("an iovec slices in steps of 1")
        return IovSlice(self._iov, start, stop)


class Ioring:
    def __init__(self, *arguments: Any) -> None:
        self._ior = abi.Ior()
        _check(abi.iorcreate4(self._ior, *arguments), "hf3fs_iorcreate4")
        self._in_flight: Dict[int, IovSlice] = {}

    def __del__(self) -> None:
        abi.iordestroy(self._ior)

    def prepare(self, part: IovSlice, read: bool, fd: int, off: int, userdata: Any = None) -> None:
        address, length = part.iov.base + part.start, part.stop - part.start
        index = _check(
            abi.prep_io(self._ior, part.iov, read, address, fd, off, length, None),
            "hf3fs_prep_io",
        )
        part.userdata = userdata
        self._in_flight[index] = part

    def submit(self) -> "Ioring":
        _check(abi.submit_ios(self._ior), "hf3fs_submit_ios")
        return self

    def wait(
        self, *, max_results: int = 0, min_results: int = 0, timeout: Union[timedelta, float, None] = None
    ) -> List[IovSlice]:
        cqes = (abi.Cqe * (max_results or abi.io_entries(self._ior)))()
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        until = None
        if seconds is not None:
            end = time.time() + seconds
            until = ctypes.byref(abi.Timespec(int(end), int(end % 1 * 1e9)))
        count = _check(abi.wait_for_ios(self._ior, cqes, len(cqes), min_results, until), "hf3fs_wait_for_ios")
        return [self._finished(cqe) for cqe in cqes[:count]]

    def _finished(self, cqe: abi.Cqe) -> IovSlice:
        part = self._in_flight.pop(cqe.index, None)
        if part is None:
            raise OSError(errno.EPROTO, f"no request {cqe.index} is in flight")
        part.result = cqe.result
        return part


def make_iovec(shm: SharedMemory, hf3fs_mount_point: str, block_size: int = 0, numa: int = -1) -> Iovec:
    return Iovec(shm, hf3fs_mount_point, block_size, numa)


def make_ioring(
    hf3fs_mount_point: str,
    entries: int,
    for_read: bool = True,
    io_depth: int = 0,
    priority: Optional[int] = None,
    timeout: Optional[int] = None,
    numa: int = -1,
    flags: int = 0,
) -> Ioring:
    if priority:
        raise OSError(errno.ENOTSUP, "a ring has flags or a priority: hf3fs_iorcreate4 takes no priority")
    return Ioring(os.fsencode(hf3fs_mount_point), entries, for_read, io_depth, timeout or 0, numa, flags)

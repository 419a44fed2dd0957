# SPDX-License-Identifier: Apache-2.0
"""The bytes of files as USRBIO delivers them, and as the kernel does."""

import bisect
import ctypes
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Sequence, Tuple

from ..backend import extract_mount_point, reader_class
from .hostmemory import HostMemory
from .tensors import open_checkpoints

if TYPE_CHECKING:
    from .._core import Memory
    from ..checkpoint import TensorInfo
    from ..reader_c import ThreeFSFileReader

#: What is read both ways before it is compared, and the parts in which the kernel reads it, side by side.
STEP = 64 << 20
PART = 8 << 20
#: What nobody has read yet is full of it, so that bytes which never arrived cannot pass for those of the step before.
FILL = 0xA5

_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Difference(NamedTuple):
    """The first of a file: where, and both bytes. ``tensor`` is "" in the header."""

    file: str
    offset: int
    tensor: str
    tensor_offset: int
    usrbio: int
    kernel: int


class Outcome(NamedTuple):
    transport: str
    nbytes: int
    seconds: float
    differences: List[Difference]

    def as_dict(self) -> Dict[str, object]:
        return {**self._asdict(), "differences": [difference._asdict() for difference in self.differences]}


# ------------------------------------------------------------------ comparing memory


def first_difference(a: int, b: int, size: int) -> int:
    """The offset of the first byte that differs between two addresses, -1 for none."""
    if _libc.memcmp(a, b, size) == 0:
        return -1
    low, high = 0, size  # equal before low, different before high
    while high - low > 1:
        middle = (low + high) // 2
        if _libc.memcmp(a + low, b + low, middle - low) == 0:
            low = middle
        else:
            high = middle
    return low


def place(tensors: "Sequence[TensorInfo]", offset: int) -> Tuple[str, int]:
    """Which tensor a byte of their file belongs to, and its offset in there; ``("", 0)`` in the header."""
    # Of several at one place the last may hold bytes; those before are empty.
    number = bisect.bisect_right([tensor.offset for tensor in tensors], offset) - 1
    return (tensors[number].name, offset - tensors[number].offset) if number >= 0 else ("", 0)


# ------------------------------------------------------------------ reading both ways


class _Both:
    """Reads the same bytes both ways, each into memory of its own.

    That of USRBIO is the reader's, so that nothing which is not read there can come to be there.
    """

    def __init__(
        self, reader: "ThreeFSFileReader", pool: ThreadPoolExecutor, mine: "Memory", kernels: HostMemory
    ) -> None:
        self._reader = reader
        self._pool = pool
        self.mine = mine
        self.kernels = kernels

    def _read_part(self, fd: int, at: int, offset: int, size: int) -> None:
        done = 0
        while done < size:
            got = os.preadv(fd, [self.kernels.view[at + done : at + size]], offset + done)
            if got == 0:
                raise OSError(f"the kernel gives {done} of {size} bytes at {offset}: the file became shorter")
            done += got

    def read(self, path: str, fd: int, offset: int, size: int) -> None:
        for memory in (self.mine, self.kernels):
            ctypes.memset(memory.address, FILL, size)
        parts: List[Future[None]] = [
            self._pool.submit(self._read_part, fd, at, offset + at, min(PART, size - at)) for at in range(0, size, PART)
        ]
        try:
            got = self._reader.read_chunked(path, self.mine.address, offset, size)
        finally:
            for part in parts:
                part.result()
        if got != size:
            raise OSError(f"{path}: USRBIO gives {got} of {size} bytes at {offset}: the file became shorter")


def _compare_file(
    both: _Both, tensors: "Sequence[TensorInfo]", path: str, progress: Callable[[int], object]
) -> List[Difference]:
    """Its first difference, if there is one."""
    with open(path, "rb", buffering=0) as file:
        # What the kernel has kept may be older than the file.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size = os.fstat(file.fileno()).st_size
        for at in range(0, size, STEP):
            step = min(STEP, size - at)
            both.read(path, file.fileno(), at, step)
            where = first_difference(both.mine.address, both.kernels.address, step)
            if where >= 0:
                tensor, offset = place(tensors, at + where)
                return [
                    Difference(path, at + where, tensor, offset, memoryview(both.mine)[where], both.kernels.view[where])
                ]
            progress(step)
    return []


# ------------------------------------------------------------------ all files


class _NoBar:
    """Where nobody looks, or tqdm is not installed."""

    def update(self, nbytes: int) -> None:
        pass

    def close(self) -> None:
        pass


def _bar(total: int) -> "_NoBar":
    if not sys.stderr.isatty():
        return _NoBar()
    try:
        from tqdm import tqdm  # noqa: PLC0415 (an optional dependency)
    except ImportError:
        return _NoBar()
    bar: _NoBar = tqdm(total=total, unit="B", unit_scale=True, desc="compare", leave=False)
    return bar


def _reader(path: str) -> "ThreeFSFileReader":
    mount = extract_mount_point(path)
    if not mount:
        raise OSError(f"{path}: not on a 3FS mount, so there is nothing to compare the kernel's bytes with")
    reader: ThreeFSFileReader = reader_class("c")(mount_point=mount, require="usrbio")  # type: ignore[call-arg,assignment]
    return reader


def compare_files(files: Sequence[str]) -> Outcome:
    """Every byte of files that are valid and on one 3FS."""
    differences: List[Difference] = []
    total = sum(os.path.getsize(file) for file in files)
    start = time.monotonic()
    with _reader(files[0]) as reader, ThreadPoolExecutor(STEP // PART) as pool:
        with closing(HostMemory(STEP)) as kernels, closing(_bar(total)) as bar:
            both = _Both(reader, pool, reader.alloc(STEP), kernels)
            for file in files:
                (checkpoint,) = open_checkpoints([file])
                differences += _compare_file(both, checkpoint.tensors, file, bar.update)
        info = reader.info()
    return Outcome(str(info["transport"]), total, time.monotonic() - start, differences)

# SPDX-License-Identifier: Apache-2.0
"""Tensors of many files at once, whatever framework they are for. ``.torch`` and ``.numpy`` are its faces."""

import contextlib
import errno
import logging
import math
import os
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Dict, Generic, Iterator, List, NamedTuple, Optional, Tuple, Type, TypeVar, Union

from .checkpoint import Checkpoint, Files, TensorFilter, TensorInfo, as_list
from .interface import PathType
from .reader_c import ThreeFSFileReader, extract_mount_point
from .settings import resolve

T = TypeVar("T")
Self = TypeVar("Self", bound="SafeOpen[Any]")
#: An integer, a slice, or ``...``, whose type has no name before Python 3.10.
Index = Any

#: Bytes of tensors that may be under way or waiting to be taken.
DEFAULT_AHEAD = 512 << 20

#: What is under way at the least: whole readings of a file, two of them.
_LEAST_AHEAD = 128 << 20

_logger = logging.getLogger(__package__)


def kept(ahead: int) -> int:
    """Bytes of memory that goes from tensor to tensor: what is under way, and some that was given out."""
    return max(ahead, _LEAST_AHEAD) + DEFAULT_AHEAD


class Framework(ABC, Generic[T]):
    """What makes tensors: one object for a device of a framework."""

    @abstractmethod
    def empty(self, tensor: TensorInfo) -> Tuple[T, int]:
        """A tensor that owns its memory, and the address of its first byte. ValueError: it has no such dtype."""

    @abstractmethod
    def rows(self, tensor: TensorInfo, count: int, nbytes: int) -> Tuple[T, int]:
        """The same for ``count`` rows, of ``nbytes`` together, of a tensor that has dimensions."""

    def ready(self) -> None:
        """Whatever the caller has queued for memory that ``empty`` gave is done, or ordered before what comes."""

    def release(self) -> None:
        """No more tensors for a while: memory that is kept for them is given back."""

    @property
    @abstractmethod
    def device(self) -> str: ...


class SliceError(ValueError, IndexError):
    """A slice that goes beyond a tensor."""


class Slice(Generic[T]):
    """A tensor that is not read yet. ``[...]`` reads the rows that it names, and of them gives what it names.

    Rows, the first dimension, are contiguous in a file: only their bytes are read. Indices are integers and slices of
    a positive step, one for each dimension at most, and ``...``; what goes beyond the tensor is an error.
    """

    def __init__(self, opened: "SafeOpen[T]", tensor: TensorInfo) -> None:
        self._opened, self._tensor = opened, tensor

    def get_shape(self) -> List[int]:
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        return self._tensor.dtype

    def __getitem__(self, index: Union[Index, Tuple[Index, ...]]) -> T:
        indices = self._expand(index if isinstance(index, tuple) else (index,))
        for dimension, (i, size) in enumerate(zip(indices, self._tensor.shape)):
            self._check(dimension, i, size)
        if all(i == slice(None) for i in indices):
            return self._opened.get_tensor(self._tensor.name)
        if self._tensor.dtype == "F4" and indices[-1] != slice(None):
            raise SliceError(f"{self._tensor.name}: of F4, two to a byte, the last dimension comes whole")
        first, size = indices[0], self._tensor.shape[0]
        begin, end = _span(first, size)
        rows: Any = self._opened.read_rows(self._tensor, begin, end)
        mine = 0 if isinstance(first, int) else slice(None, None, first.step)
        part: T = rows[(mine, *indices[1:])]
        return part

    def _expand(self, indices: Tuple[Index, ...]) -> List[Union[int, slice]]:
        rank = len(self._tensor.shape)
        for i in indices:
            if i is not Ellipsis and not isinstance(i, slice) and not hasattr(i, "__index__"):
                raise TypeError(f"{self._tensor.name}: an index must be an integer, a slice or ..., not {i!r}")
        dots = [n for n, i in enumerate(indices) if i is Ellipsis]
        given = len(indices) - len(dots)
        if len(dots) > 1 or given > rank:
            raise SliceError(f"{self._tensor.name}: {len(indices)} indices for a tensor of {rank} dimensions")
        at = dots[0] if dots else len(indices)
        filled = (*indices[:at], *(slice(None),) * (rank - given), *indices[at + 1 :])
        return [i if isinstance(i, slice) else _as_int(i) for i in filled]

    def _check(self, dimension: int, i: Union[int, slice], size: int) -> None:
        where = f"{self._tensor.name}: dimension {dimension} of {size}"
        if isinstance(i, int):
            if not -size <= i < size:
                raise SliceError(f"{where} has no {i}")
            return
        if i.step is not None and i.step < 1:
            raise SliceError(f"{where}: the step of a slice must be positive, not {i.step}")
        for bound in (i.start, i.stop):
            if bound is not None and not -size <= bound <= size:
                raise SliceError(f"{where} has no {bound}")


def _as_int(i: Any) -> int:
    return int(i.__index__())


def _span(i: Union[int, slice], size: int) -> Tuple[int, int]:
    """The rows that are read for an index of the first dimension."""
    if isinstance(i, int):
        return i % size, i % size + 1
    begin, end, _ = i.indices(size)
    return begin, max(begin, end)


class ReaderSettings(NamedTuple):
    """As the constructor of ThreeFSFileReader takes them; None = what it says."""

    mount_point: Optional[PathType] = None
    entries: int = 64
    buffer_size: int = 64 << 20
    timeout: Optional[float] = None
    usrbio: Optional[str] = None
    require: Optional[str] = None

    def reader(self, paths: List[PathType]) -> ThreeFSFileReader:
        """Of the first mount point that any of them is on."""
        mount_point = self.mount_point
        if mount_point is None:
            mount_point = next(filter(None, map(extract_mount_point, paths)), "")
        if not mount_point:
            self._off_3fs(os.fsdecode(paths[0]))
        kwargs = {name: value for name, value in self._asdict().items() if name != "mount_point" and value is not None}
        return ThreeFSFileReader(mount_point, **kwargs)

    def _off_3fs(self, path: str) -> None:
        if resolve("require", self.require) == "usrbio":
            raise OSError(errno.ENOTSUP, "not on 3FS, and reading through the operating system is ruled out", path)
        _logger.warning("%s is not on 3FS: read through the operating system", path)


class Progress:
    """A bar of tqdm's, in bytes and GB/s; or nothing."""

    def __init__(self, wished: bool, total: int) -> None:
        self._bar: Any = None
        if wished:
            try:
                from tqdm import tqdm  # noqa: PLC0415 - needed for a bar alone
            except ImportError as e:
                raise ImportError("progress=True needs tqdm: pip install tqdm") from e
            self._bar = tqdm(total=total, unit="B", unit_scale=True, desc="Loading tensors")

    def add(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class SafeOpen(Generic[T]):
    """Tensors of one file or of many, straight from 3FS. A context manager; leaving it ends whatever is being read.

    Threads: one at a time.
    """

    def __init__(
        self,
        files: Files,
        framework: Framework[T],
        tensor_filter: Optional[TensorFilter] = None,
        tensor_name_match_mode: str = "glob",
        progress: bool = False,
        ahead: int = DEFAULT_AHEAD,
        settings: ReaderSettings = ReaderSettings(),  # noqa: B008 - immutable
    ) -> None:
        paths = as_list(files)
        if not paths:
            raise ValueError("no files were given")
        self._framework, self._progress, self._ahead = framework, progress, ahead
        self._streams: List[Any] = []
        self._totals: Dict[str, int] = dict.fromkeys(("bytes_taken", "wait_ns", "idle_ns"), 0)
        self._planned: Dict[str, int] = {}
        self._closed = False
        self._reader = settings.reader(paths)
        try:
            self.checkpoint = Checkpoint(self._reader.core, paths)
            self._selected = self.checkpoint.select(tensor_filter, tensor_name_match_mode)
        except BaseException:
            self._reader.close()
            raise

    # ------------------------------------------------------------------ what there is

    def keys(self) -> List[str]:
        """The names of the tensors, those that the filter wants, in order."""
        return sorted(self.offset_keys())

    def offset_keys(self) -> List[str]:
        """The same in the order in which they lie in the files, and in which ``tensors()`` gives them."""
        names = self.checkpoint.core.names()
        return names if self._selected is None else [names[number] for number in self._selected]

    def metadata(self) -> Optional[Dict[str, str]]:
        """``__metadata__`` of all files together, the first file's word counting; None when none has any."""
        return self.checkpoint.metadata()

    def get_tensor_metadata(self, name: str) -> TensorInfo:
        """What the header says of a tensor."""
        return self.checkpoint.tensors[self.checkpoint.number(name)]

    # ------------------------------------------------------------------ tensors

    def get_tensor(self, name: str) -> T:
        """One tensor, whether the filter wants it or not. KeyError, with names that are like it, when there is none."""
        self._check_open()
        number = self.checkpoint.number(name)
        tensor, address = self._framework.empty(self.checkpoint.tensors[number])
        self._framework.ready()
        self._reader.core.read_tensors(self.checkpoint.core, [number], [address])
        return tensor

    def get_slice(self, name: str) -> Slice[T]:
        """A tensor of which ``[...]`` reads a part."""
        return Slice(self, self.get_tensor_metadata(name))

    def read_rows(self, tensor: TensorInfo, begin: int, end: int) -> T:
        """Rows [begin, end) of a tensor."""
        self._check_open()
        bits = tensor.nbytes * 8 // math.prod(tensor.shape) if tensor.nbytes else 0
        row_bits = bits * math.prod(tensor.shape[1:])
        if row_bits % 8:
            raise SliceError(f"{tensor.name}: its rows of {row_bits} bits do not begin at bytes")
        length = row_bits // 8 * (end - begin)
        rows, address = self._framework.rows(tensor, end - begin, length)
        self._framework.ready()
        got = self._reader.read_chunked(tensor.file, address, tensor.offset + row_bits // 8 * begin, length)
        if got != length:
            raise ValueError(f"{tensor.file}: truncated: {got} of {length} bytes of {tensor.name}")
        return rows

    def tensors(self) -> Iterator[Tuple[str, T]]:
        """Every tensor that is wanted as (name, tensor), each as soon as it is complete, in the order of the files.

        Those behind it are read meanwhile, no further than ``ahead``. A tensor owns its memory. An error ends the
        stream; leaving it early stops the reading at once.
        """
        self._check_open()
        stream = self._reader.core.stream(self.checkpoint.core, self._selected, self._ahead)
        self._streams.append(stream)
        self._planned = {key: value for key, value in stream.info().items() if key in _PLANNED}
        bar = Progress(self._progress, self._planned["bytes_wanted"])
        # Held here, not in _pull: when this is left early _pull is gone first, and what is being read into must not be.
        under_way: Dict[int, Tuple[TensorInfo, T]] = {}
        try:
            yield from self._pull(stream, bar, under_way)
        finally:
            bar.close()
            self._end(stream)
            self._framework.release()

    def _pull(self, stream: Any, bar: Progress, under_way: Dict[int, Tuple[TensorInfo, T]]) -> Iterator[Tuple[str, T]]:
        while True:
            self._check_open()
            self._give(stream, under_way)
            number = stream.next()
            if number is None:
                return
            bar.add(under_way[number][0].nbytes)
            # Nothing here keeps the tensor alive.
            yield under_way[number][0].name, under_way.pop(number)[1]

    def _give(self, stream: Any, under_way: Dict[int, Tuple[TensorInfo, T]]) -> None:
        wanted = stream.wants()
        while wanted is not None:
            tensor = self.checkpoint.tensors[wanted]
            made, address = self._framework.empty(tensor)
            under_way[wanted] = tensor, made
            self._framework.ready()
            stream.give(address)
            wanted = stream.wants()

    def _end(self, stream: Any) -> None:
        """Its counters are kept; again is fine, also when an interrupt came in the middle of it."""
        if stream not in self._streams:
            return
        counted = stream.info()  # RuntimeError while another thread waits for a tensor: that one ends it
        # Before it is closed: an interrupt is raised when that is done.
        self._streams.remove(stream)
        for key, value in counted.items():
            if key in self._totals:
                self._totals[key] += value
        stream.close()

    # ------------------------------------------------------------------ what is in use, and the end

    def info(self) -> Dict[str, object]:
        """What the reader uses (as its ``info()`` says), what was planned, and what was waited for.

        ``bytes_wanted`` are those of the tensors of the last ``tensors()``, ``bytes_requested`` what is read for them:
        small gaps between them too; ``bytes_skipped`` belong to tensors that the filter does not want. ``wait_ns`` is
        time in which the caller waited for tensors, ``idle_ns`` time in which nothing was read because none was taken.
        """
        every = self.checkpoint.core.nbytes(None)
        wanted = self.checkpoint.core.nbytes(self._selected)
        totals = dict(self._totals)
        for stream in list(self._streams):
            with contextlib.suppress(ValueError, RuntimeError):  # closed, or busy, since
                for key, value in stream.info().items():
                    if key in totals:
                        totals[key] += value
        return {
            **self._reader.info(),
            "device": self._framework.device,
            "files": len(self.checkpoint.files),
            "bytes_wanted": wanted,
            "bytes_skipped": every - wanted,
            **self._planned,
            **totals,
        }

    def close(self) -> None:
        """Ends what is being read, at once, and gives everything back. Tensors stay. Again is fine."""
        self._closed = True
        try:
            for stream in list(self._streams):
                self._end(stream)
        finally:
            self._framework.release()
            self._reader.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("safe_open was closed")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


#: What a stream knows before it has read anything.
_PLANNED = ("bytes_wanted", "bytes_requested")

# SPDX-License-Identifier: Apache-2.0
"""A copier for fastsafetensors that reads in the background: what its own ``3fs`` copier cannot do, on 3FS too.

import fastsafetensor_3fs_reader.fastsafetensors

fastsafetensor_3fs_reader.fastsafetensors.register()

From then on ``AutoLoader``, ``ThreeFSLoader`` and ``ParallelThreeFSLoader`` of this process use it: tensor filters and
``max_batch_bytes`` save reads and memory, ``device_memory_budget`` can be planned, and tensors are given out while the
rest of their shard is still being read (``overlap_io``), each as far as the installed fastsafetensors has it.
"""

import errno
import functools
import inspect
from bisect import bisect_left, bisect_right
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from .backend import get_backend
from .reader_c import ThreeFSFileReader

try:
    from fastsafetensors.copier import base, registry
    from fastsafetensors.copier import threefs as _replaced  # noqa: F401  registers its own when it is imported
    from fastsafetensors.loader import BaseSafeTensorsFileLoader
    from fastsafetensors.parallel_loader import ParallelLoader, PipelineParallel
    from fastsafetensors.threefs_loader import ThreeFSLoader
except ImportError as e:
    raise ImportError(f"{__name__} needs fastsafetensors 0.3.3 or later, and PyTorch: {e}") from e

#: [begin, end) in a file.
Run = Tuple[int, int]

#: What a copier is asked for with, in a loader's keywords or the section "3fs" of fastsafetensors' configuration.
_SETTINGS = tuple(inspect.signature(ThreeFSFileReader).parameters)


def _passed_on() -> FrozenSet[str]:
    """Keywords of fastsafetensors' own, which its loaders hand to their copiers as well."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(
        parameter.name
        for owner in (BaseSafeTensorsFileLoader, PipelineParallel, ParallelLoader)
        for parameter in inspect.signature(owner).parameters.values()
        if parameter.kind in named
    )


def _refuse(unknown: Iterable[str], advice: str = "") -> None:
    """ValueError names them, if there are any."""
    names = ", ".join(map(repr, sorted(unknown)))
    if names:
        raise ValueError(f"3fs: unknown settings {names}: there are {', '.join(_SETTINGS)}{advice}")


def _settings(keywords: Dict[str, Any]) -> Dict[str, Any]:
    """The reader's, of a loader's keywords. ValueError names what nobody knows."""
    _refuse(set(keywords) - set(_SETTINGS) - _passed_on())
    return {name: keywords[name] for name in _SETTINGS if name in keywords}


@functools.lru_cache
def _check_sections() -> None:
    """From now on the section ``3fs`` of fastsafetensors' configuration may hold the reader's settings alone. Once it
    has become a loader's keywords, what the pipeline has a section of its own for could not be told from what
    ``ParallelThreeFSLoader`` gives to both, and would be dropped."""
    process = ThreeFSLoader.process_extension_config.__func__

    def checked(cls: Any, /, ext_config: Mapping[str, Any], **kwargs: Any) -> Any:
        _refuse(set(ext_config) - set(_SETTINGS), "; what is about the pipeline belongs in the section 'parallel'")
        return process(cls, ext_config, **kwargs)

    ThreeFSLoader.process_extension_config = classmethod(checked)


def _cut(runs: Sequence[Run], bounds: Sequence[int]) -> Iterator[Run]:
    """The runs, cut where tensors begin or end, so that each tensor can be waited for."""
    for begin, end in runs:
        inner = bounds[bisect_right(bounds, begin) : bisect_left(bounds, end)]
        yield from zip([begin, *inner], [*inner, end])


class ThreeFSCopier(base.CopierInterface):  # type: ignore[misc]
    """Reads one shard, or a part of it, into one buffer of the framework's.

    ``submit_io`` allocates the buffer and starts reading; whoever has called it ends it with ``wait_io`` or
    ``finish_io`` before the buffer is freed. Dropped, the copier gives up reading.
    """

    def __init__(self, metadata: Any, device: Any, reader: ThreeFSFileReader, framework: Any) -> None:
        self.metadata = metadata
        self.device = device
        self.framework = framework
        self._reader: Optional[ThreeFSFileReader] = reader
        self._runs: Optional[List[Run]] = None
        self._names: Optional[Set[str]] = None
        self._allocation_size: Optional[int] = None
        self._base: int = metadata.header_length  # what in the file lies at the buffer's begin
        self._pieces: List[Run] = []
        self._begins: List[int] = []
        self._batch: Any = None

    # -------------------------------------------------------------- what is read

    def set_byte_ranges(self, byte_ranges: Optional[List[Run]]) -> None:
        """Reads these ``[start, end)`` of the file alone, each to where it lies in the whole; None: everything."""
        self._runs = base.validated_byte_ranges(self.metadata, byte_ranges)

    def set_chunk(self, byte_ranges: List[Run], names: Set[str], allocation_size: Optional[int] = None) -> None:
        """Reads the tensors ``names`` alone, into a buffer of the ranges' span, or of ``allocation_size``."""
        self._runs = base.validated_byte_ranges(self.metadata, byte_ranges)
        self._names = names
        self._allocation_size = base.validated_chunk_allocation_size(self._runs, allocation_size)

    @classmethod
    def chunk_transient_multiplier(cls, paths: List[str]) -> int:
        """On the device a chunk takes its own buffer, once."""
        return 1

    @classmethod
    def fixed_device_overhead(cls, paths: List[str]) -> int:
        """The reader's buffer is host memory."""
        return 0

    # -------------------------------------------------------------- reading

    def submit_io(self, use_buf_register: bool, max_copy_block_size: int) -> Any:
        """Allocates the buffer and starts to read. ``max_copy_block_size`` bounds one request, 0: the reader does."""
        whole = (self.metadata.header_length, self.metadata.size_bytes)
        runs = [whole] if self._runs is None else self._runs
        begin, end = whole
        if self._names is not None:
            begin, end = (runs[0][0], runs[-1][1]) if runs else (begin, begin)
        self._base = begin
        gbuf = self.framework.alloc_tensor_memory(self._allocation_size or end - begin, self.device)
        try:
            self._start(runs, gbuf.get_base_address() - begin, max(0, max_copy_block_size))
        except BaseException:
            self.framework.free_tensor_memory(gbuf, self.device)
            raise
        return gbuf

    def _start(self, runs: Sequence[Run], origin: int, chunk_size: int) -> None:
        bounds = {
            self.metadata.header_length + offset
            for frame in self.metadata.tensors.values()
            for offset in frame.data_offsets
        }
        self._pieces = [(begin, end) for begin, end in _cut(runs, sorted(bounds)) if begin < end]
        self._begins = [begin for begin, _ in self._pieces]
        path = self.metadata.src
        requests = [(path, origin + begin, begin, end - begin) for begin, end in self._pieces]
        assert self._reader is not None, "a copier reads once"
        self._batch = self._reader.start_many(requests, chunk_size)

    def _wait(self, piece: int) -> None:
        begin, end = self._pieces[piece]
        got = self._batch.wait(piece)
        if got < end - begin:
            what = f"the file ends within tensor data: {end - begin} bytes wanted at {begin}, {got} read"
            raise OSError(errno.EIO, what, self.metadata.src)

    def wait_io(self, gbuf: Any, dtype: Any = base.DType.AUTO, noalign: bool = False, owner: Any = None) -> Any:
        """Waits for everything; the tensors by name."""
        try:
            for piece in range(len(self._pieces)):
                self._wait(piece)
        finally:
            self.finish_io()
        return self._tensors(gbuf, dtype, owner)

    def finish_io(self) -> None:
        """Nothing writes to the buffer from now on. What nobody has waited for is not read any further."""
        batch, self._batch = self._batch, None
        # An error that an older fastsafetensors passes on keeps the copier alive, in a circle, beyond the loader.
        self._reader = None
        if batch is not None:
            batch.cancel()

    # -------------------------------------------------------------- tensors while it is being read

    def enable_tensor_readiness(self) -> bool:
        """Yes: each tensor can be waited for."""
        return True

    def prepare_tensors(self, gbuf: Any, owner: Any = None) -> Any:
        """The tensors by name, for use after ``wait_tensor``."""
        return self._tensors(gbuf, base.DType.AUTO, owner)

    def wait_tensor(self, name: str) -> None:
        """Waits for the bytes of one tensor. OSError says why they do not come; ValueError: they are not read."""
        begin, end = (self.metadata.header_length + offset for offset in self.metadata.tensors[name].data_offsets)
        covered, piece = begin, bisect_left(self._begins, begin)
        while covered < end and piece < len(self._pieces) and self._pieces[piece][0] == covered:
            self._wait(piece)
            covered = self._pieces[piece][1]
            piece += 1
        if covered < end:
            raise ValueError(f"{self.metadata.src}: tensor {name} is not among what is read")

    def _tensors(self, gbuf: Any, dtype: Any, owner: Any) -> Any:
        shared = {} if owner is None else {"owner": owner}
        if self._names is None:
            return self.metadata.get_tensors(gbuf, self.device, self._base, dtype=dtype, **shared)
        return self.metadata._get_tensors(gbuf, self.device, self._base, dtype=dtype, names=self._names, **shared)


def _new_copiers(device: Any, **keywords: Any) -> Callable[[Any, Any, Any], ThreeFSCopier]:
    """What a loader makes its copiers with. They share a reader, which ends with the last of them and of this."""
    reader = ThreeFSFileReader(**_settings(keywords))

    def construct(metadata: Any, device: Any, framework: Any) -> ThreeFSCopier:
        return ThreeFSCopier(metadata, device, reader, framework)

    construct.reader = reader  # type: ignore[attr-defined]  # where the copier that this replaces has it
    return construct


def register() -> None:
    """Makes this the copier of fastsafetensors' ``3fs`` loaders in this process. Calling it again changes nothing.

    Loaders made from now on also honour ``timeout``, ``usrbio`` and ``require`` in their keywords or in the section
    ``3fs`` of fastsafetensors' configuration; one that is made with a setting that nobody knows raises ValueError.
    RuntimeError: FASTSAFETENSORS_BACKEND chooses a backend which cannot read in the background.
    """
    if get_backend() != "c":
        raise RuntimeError(f"this copier needs backend 'c', and {get_backend()!r} is the active one")
    of_class = len(inspect.signature(registry.register_copier_constructor).parameters) > 1
    registry.register_copier_constructor("3fs", *([ThreeFSCopier] if of_class else []))(_new_copiers)
    _check_sections()

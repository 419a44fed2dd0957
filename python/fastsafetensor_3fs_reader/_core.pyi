# SPDX-License-Identifier: Apache-2.0
import sys
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple, TypedDict, Union, final, type_check_only

from .interface import Header, PathType, ReadRequest

if sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    from typing_extensions import Buffer

version: str
READ_IN_TURN: int
USRBIO_BUILTIN: int
USRBIO_SDK: int

def mount_point(path: PathType, /) -> str: ...
def alloc_host(nbytes: int, /) -> Memory: ...

@type_check_only
class Info(TypedDict):
    transport: str
    client: str
    why_not: str
    devices: str
    page_locked: Optional[bool]
    iov_base: int
    iov_length: int
    buffer_size: int
    piece_size: int
    window: int
    open_files: int
    reads: int
    requests: int
    bytes: int
    bytes_posix: int
    bytes_direct: int
    io_wait_ns: int
    copy_wait_ns: int
    given_up: int
    populated: int
    populated_huge: int
    iov_huge: int
    alloc_length: int
    alloc_huge: int

@final
class Memory(Buffer):
    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

@final
class Batch:
    """Ranges that are read in the background. Any number of threads may wait; dropped, it is cancelled."""

    def wait(self, index: int, /) -> int: ...
    def is_ready(self, index: int, /) -> bool: ...
    def finish(self) -> None: ...
    def cancel(self) -> None: ...

@final
class Checkpoint:
    def __len__(self) -> int: ...
    #: (name, dtype, shape, number of the file, offset in it, bytes), by file and offset
    def tensors(self) -> List[Tuple[str, str, Tuple[int, ...], int, int, int]]: ...
    def files(self) -> List[str]: ...
    def metadata(self, file: int, /) -> Dict[str, str]: ...

@final
class Stream:
    """For one thread at a time."""

    def wants(self) -> Optional[int]: ...
    def give(self, address: int, /) -> None: ...
    def next(self) -> Optional[int]: ...
    def info(self) -> Dict[str, int]: ...
    def close(self) -> None: ...

@final
class Share:
    def __new__(
        cls, checkpoint: Checkpoint, numbers: Optional[Sequence[int]], ranks: int, window: int, align: int, /
    ) -> Share: ...
    def __len__(self) -> int: ...
    #: (bytes, bytes of a slice)
    def window(self, window: int, /) -> Tuple[int, int]: ...
    def requests(self, window: int, rank: int, base: int, /) -> List[Tuple[str, int, int, int]]: ...
    #: (tensor, offset in it, offset in the window, bytes)
    def copies(self, window: int, /) -> List[Tuple[int, int, int, int]]: ...

@final
class Reader:
    def __new__(
        cls,
        mount_point: PathType,
        entries: int,
        io_depth: int,
        buffer_size: int,
        timeout_ms: int,
        usrbio: int = ...,
        sdk_path: PathType = ...,
        require_usrbio: bool = ...,
        log: Optional[Callable[[int, str], object]] = ...,
        log_level: int = ...,
        trace: PathType = ...,
        populate: bool = ...,
    ) -> Reader: ...
    def read(self, path: PathType, dst: int, offset: int, length: int, chunk_size: int, flags: int, /) -> int: ...
    def read_many(self, requests: Iterable[ReadRequest], chunk_size: int, flags: int, /) -> List[int]: ...
    def read_headers(self, paths: Iterable[PathType], num_threads: int, /) -> List[Header]: ...
    def start_many(self, requests: Iterable[ReadRequest], chunk_size: int, /) -> Batch: ...
    def checkpoint(self, paths: Iterable[PathType], /) -> Checkpoint: ...
    def stream(self, checkpoint: Checkpoint, numbers: Optional[Sequence[int]], ahead: int, /) -> Stream: ...
    def read_tensors(self, checkpoint: Checkpoint, numbers: Sequence[int], addresses: Sequence[int], /) -> None: ...
    def has_file(self, path: PathType, /) -> bool: ...
    def alloc(self, nbytes: int, /) -> Memory: ...
    def release(self) -> None: ...
    def stats(self) -> Dict[str, Union[int, List[int]]]: ...
    def info(self) -> Info: ...

# SPDX-License-Identifier: Apache-2.0
import sys
from typing import Callable, Iterable, List, Optional, TypedDict, final, type_check_only

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

@final
class Memory(Buffer):
    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

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
    ) -> Reader: ...
    def read(self, path: PathType, dst: int, offset: int, length: int, chunk_size: int, flags: int, /) -> int: ...
    def read_many(self, requests: Iterable[ReadRequest], chunk_size: int, flags: int, /) -> List[int]: ...
    def read_headers(self, paths: Iterable[PathType], num_threads: int, /) -> List[Header]: ...
    def has_file(self, path: PathType, /) -> bool: ...
    def alloc(self, nbytes: int, /) -> Memory: ...
    def release(self) -> None: ...
    def info(self) -> Info: ...

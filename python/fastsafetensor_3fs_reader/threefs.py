# SPDX-License-Identifier: Apache-2.0
"""How a reader of 3FS is asked for: the constructor of both of them."""

import os
from abc import abstractmethod
from typing import NamedTuple, Optional

from .interface import FileReaderInterface, PathType
from .settings import DEFAULT_BUFFER_SIZE, debug_enabled, resolve


class Arguments(NamedTuple):
    """The constructor's, with the environment's settings in force where none were given."""

    mount_point: str
    entries: int
    io_depth: int
    buffer_size: int
    timeout_s: float
    usrbio: str
    require_usrbio: bool
    trace: str
    populate: bool


class ThreeFSReader(FileReaderInterface):
    """Reads files through USRBIO where they are on 3FS, and through the operating system elsewhere.

    ``entries`` bounds the requests in flight, ``buffer_size`` is all the staging memory it takes, ``io_depth`` is a
    hint. The other settings are also environment variables FST3FS_<NAME>; the argument wins:

    timeout   seconds a read may go without any completion
    usrbio    which USRBIO client: "auto", "sdk" (the official library) or "builtin"
    populate  "on": make host memory resident ahead of the bytes, or "off" (backend "c")
    require   "usrbio": fail rather than read through the operating system
    trace     a file to write a trace for Perfetto to (backend c); "%p" in it becomes the process's number
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
        trace: Optional[PathType] = None,
        populate: Optional[str] = None,
    ) -> None:
        self._debug = debug_enabled()
        self._start(
            Arguments(
                os.fsdecode(mount_point),
                entries,
                io_depth,
                buffer_size,
                float(str(resolve("timeout", timeout))),
                str(resolve("usrbio", usrbio)),
                resolve("require", require) == "usrbio",
                str(resolve("trace", None if trace is None else os.fsdecode(trace))),
                resolve("populate", populate) == "on",
            )
        )

    @abstractmethod
    def _start(self, arguments: Arguments) -> None:
        """Makes the reader ready to read. ValueError or OSError says what is wrong with an argument."""

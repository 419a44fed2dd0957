# SPDX-License-Identifier: Apache-2.0
"""Where bytes go: nowhere, host memory, or memory of a GPU."""

import ctypes
import mmap
from abc import ABC, abstractmethod
from typing import Optional

from gpu import Gpu

#: Python 3.9 does not name it.
MAP_POPULATE = 0x8000


class Destination(ABC):
    """Memory of a process for what it reads; every file is read to its start."""

    address = 0  # for readers that take one
    direct = False  # the operating system can read into it
    device: Optional[int] = None  # the GPU that it is memory of

    @abstractmethod
    def put(self, at: int, source: int, nbytes: int) -> None:
        """Copies from host memory at ``source``, for ways that do not deliver by themselves."""

    @abstractmethod
    def content(self, nbytes: int) -> bytes:
        """The first bytes."""

    @abstractmethod
    def close(self) -> None:
        """Gives the memory back."""


class Nowhere(Destination):
    """Download only."""

    def put(self, at: int, source: int, nbytes: int) -> None:
        """Nothing is delivered."""

    def content(self, nbytes: int) -> bytes:
        raise ValueError("nothing was delivered")

    def close(self) -> None:
        """There is none."""


class Memory:
    """Anonymous memory whose pages are there, so that no page fault is measured."""

    def __init__(self, nbytes: int) -> None:
        self.map = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_POPULATE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def close(self) -> None:
        self.map.close()


class Host(Destination):
    """Ordinary host memory."""

    direct = True

    def __init__(self, nbytes: int) -> None:
        self._memory = Memory(nbytes)
        self.address = self._memory.address

    def put(self, at: int, source: int, nbytes: int) -> None:
        ctypes.memmove(self.address + at, source, nbytes)

    def content(self, nbytes: int) -> bytes:
        return self._memory.map[:nbytes]

    def close(self) -> None:
        self._memory.close()


class Cuda(Destination):
    """Memory of one GPU."""

    def __init__(self, nbytes: int, device: int) -> None:
        self.device = device
        self._gpu = Gpu(device)
        self.address = self._gpu.alloc(nbytes)

    def put(self, at: int, source: int, nbytes: int) -> None:
        self._gpu.write(self.address + at, source, nbytes)

    def content(self, nbytes: int) -> bytes:
        return self._gpu.read(self.address, nbytes)

    def close(self) -> None:
        self._gpu.free(self.address)
        self._gpu.close()


def make(name: str, nbytes: int) -> Destination:
    """ "none", "host" or "cuda:N"."""
    if name == "none":
        return Nowhere()
    if name == "host":
        return Host(nbytes)
    return Cuda(nbytes, int(name.partition(":")[2]))

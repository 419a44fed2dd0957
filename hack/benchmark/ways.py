# SPDX-License-Identifier: Apache-2.0
"""The ways to read a checkpoint that are compared: the backends of this package, and what one would use otherwise.

One row of WAYS is one way. Its class is imported where it is used, in a worker process, so that the runner needs
none of what the peers need.
"""

import importlib
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Dict, List, NamedTuple, Sequence, Tuple, Type

from dest import Destination
from serve import MIB

#: What a reader takes when it is not told, for ways whose size is not varied.
DEFAULT_BUFFER = 64 * MIB
READERS = "readers"
PEERS = "peers"


class Settings(NamedTuple):
    """What a way is made with. ``buffer`` and ``chunk`` are 0 where they have no meaning."""

    way: str
    mount_point: str
    buffer: int
    chunk: int
    dest: Destination


class Reading(ABC):
    """One way at work, in one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def read(self, path: str, offset: int, length: int) -> int:
        """Brings a range of a file to the start of the destination; how many bytes of it."""

    def delivered(self, length: int) -> bytes:
        """The bytes that the last read brought."""
        return self.settings.dest.content(length)

    def headers(self, paths: Sequence[str], threads: int) -> int:
        """Reads the headers of files; how many bytes of JSON."""
        raise NotImplementedError(f"{self.settings.way} has no batches of headers")

    def info(self) -> Dict[str, object]:
        """What was really used: transport, client, devices."""
        return {}

    def close(self) -> None:
        """Lets go of everything, the destination last."""
        self.settings.dest.close()


class Way(NamedTuple):
    """What the sweep has to know about a way."""

    name: str
    module: str
    reading: str  # the class
    peer: bool = False
    sizes: bool = True  # buffer and chunk mean something
    headers: bool = False
    whole_files: bool = False
    reaches_gpu: bool = True
    one_at_a_time: bool = False
    needs: Tuple[str, ...] = ()
    start_s: float = 0.0  # what its imports take

    def missing(self) -> List[str]:
        """The modules it needs that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]

    def load(self) -> Type[Reading]:
        return getattr(importlib.import_module(self.module), self.reading)


def backend(name: str) -> Way:
    """A backend of this package; whether there is one of that name shows when it is made."""
    mock = name == "mock"
    return Way(name, READERS, "Ours", sizes=not mock, headers=True, reaches_gpu=not mock)


WAYS = (
    Way("plain read", PEERS, "PlainRead", peer=True, one_at_a_time=True),
    Way("one request", PEERS, "OneRequest", peer=True, one_at_a_time=True, needs=("hf3fs_fuse",)),
    Way(
        "safetensors mmap",
        PEERS,
        "SafetensorsMmap",
        peer=True,
        sizes=False,
        whole_files=True,
        one_at_a_time=True,
        needs=("safetensors", "numpy"),
    ),
    Way(
        "fastsafetensors",
        PEERS,
        "FastSafetensors",
        peer=True,
        sizes=False,
        whole_files=True,
        needs=("fastsafetensors", "torch"),
        start_s=3.0,
    ),
)

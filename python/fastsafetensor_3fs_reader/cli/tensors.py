# SPDX-License-Identifier: Apache-2.0
"""The tensors of files and folders, as the commands want them."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, List, Sequence, Tuple

from ..backend import reader_class

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, TensorInfo

#: Files given one by one that are opened at a time: each is a round trip to the metadata server.
THREADS = 16


def open_checkpoints(paths: Sequence[str]) -> "List[Checkpoint]":
    """One for each file or folder, checked as the C library does.

    Headers come through the operating system: that needs no registration, and works where nothing else does.
    ImportError without the C library.
    """
    make = reader_class("c")
    from ..checkpoint import Checkpoint  # noqa: PLC0415 (the other commands do without the C library)

    with make(mount_point="", buffer_size=1 << 20) as reader, ThreadPoolExecutor(THREADS) as pool:  # type: ignore[call-arg]
        core = reader.core  # type: ignore[attr-defined]
        return list(pool.map(lambda path: Checkpoint(core, path), dict.fromkeys(paths)))


def read_tensors(paths: Sequence[str]) -> "Tuple[List[str], List[TensorInfo]]":
    """The files, and all their tensors by file and offset."""
    checkpoints = open_checkpoints(paths)
    files = [file for checkpoint in checkpoints for file in checkpoint.files]
    return list(dict.fromkeys(files)), [tensor for checkpoint in checkpoints for tensor in checkpoint.tensors]

# SPDX-License-Identifier: Apache-2.0
"""What the GPU tests and figures share: a folder served through usrbiod where that can be, and readers on it."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from fastsafetensor_3fs_reader import ThreeFSFileReader
from fastsafetensor_3fs_reader.usrbiod import Usrbiod

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Place:
    """Files are put into ``backing`` and read below ``path``."""

    def __init__(self, backing: Path, path: Path, mounted: bool) -> None:
        self.backing, self.path, self.mounted = backing, path, mounted

    def reader(self, **kwargs: Any) -> ThreeFSFileReader:
        if self.mounted:
            return ThreeFSFileReader(str(self.path), require="usrbio", **kwargs)
        return ThreeFSFileReader("", **kwargs)


def have_usrbiod() -> bool:
    return bool(os.environ.get("USRBIOD"))


@contextlib.contextmanager
def served(*options: str) -> Iterator[Place]:
    """A scratch folder in memory, served as 3FS; as it is where there is no usrbiod."""
    with tempfile.TemporaryDirectory(prefix="fst3fs-gpu-", dir="/dev/shm") as backing:
        if have_usrbiod():
            with Usrbiod(backing, None, *options) as daemon:
                yield Place(Path(backing), Path(daemon.mount_point), True)
        else:
            yield Place(Path(backing), Path(backing), False)


def random_file(path: Path, size: int) -> None:
    """Random bytes, repeated from 128 MiB on."""
    block = np.random.default_rng(7).integers(0, 256, min(size, 128 * MIB), np.uint8).tobytes()
    with path.open("wb") as file:
        for start in range(0, size, len(block) or 1):
            file.write(block[: size - start])

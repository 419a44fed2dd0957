# SPDX-License-Identifier: Apache-2.0
"""A directory served by usrbiod for a benchmark: the link it simulates, and files to read.

with scratch() as folder, serve(folder, LINK) as served:
    generate(folder, count=8, size=GIB, sparse=True)
    ...  # read below served.mount_point
"""

import os
import random
import tempfile
from contextlib import contextmanager
from typing import Callable, Iterator, List, NamedTuple, Optional

from fastsafetensor_3fs_reader.usrbiod import Usrbiod

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SHM = "/dev/shm"
SEED = 3

# ------------------------------------------------------------------ the link


class Link(NamedTuple):
    """What usrbiod simulates. Zero is no limit, so that Link() simulates nothing."""

    latency_us: int = 0  # of each piece of a request that lies in one chunk
    bandwidth_mbps: int = 0  # MB (10^6 bytes) a second, all I/O together
    job_mbps: int = 0  # MB a second, one job
    jitter_us: int = 0
    meta_latency_us: int = 0  # of each metadata operation
    chunk_kb: int = 1024
    null: bool = False  # ring requests take their time and move no bytes

    def options(self) -> List[str]:
        """Of usrbiod's command line."""
        words = [f"--{name.replace('_', '-')}={value}" for name, value in zip(self._fields, self[:-1]) if value]
        return [*words, "--null"] if self.null else words

    def describe(self) -> str:
        """In words, for people."""
        parts = [
            f"{self.latency_us} us latency" if self.latency_us else "",
            f"up to {self.jitter_us} us jitter" if self.jitter_us else "",
            f"{self.bandwidth_mbps} MB/s" if self.bandwidth_mbps else "",
            f"{self.job_mbps} MB/s for one job" if self.job_mbps else "",
            f"{self.meta_latency_us} us for metadata" if self.meta_latency_us else "",
            "no bytes are moved" if self.null else "",
        ]
        return ", ".join(part for part in parts if part) or "no simulated link"


NO_LINK = Link()
#: 4 GB/s that one job cannot fill: the model that ratios are stated for.
LINK = Link(latency_us=500, bandwidth_mbps=4000, job_mbps=500, null=True)
LINK_FIELDS = ("latency_us", "bandwidth_mbps", "job_mbps", "jitter_us", "meta_latency_us")


def parse_link(text: str) -> Link:
    """LATENCY_US,BANDWIDTH_MBPS,JOB_MBPS[,JITTER_US[,META_LATENCY_US]]"""
    words = text.split(",")
    if not (3 <= len(words) <= len(LINK_FIELDS) and all(word.isdecimal() for word in words)):
        raise ValueError(f"a link is 3 to {len(LINK_FIELDS)} whole numbers {','.join(LINK_FIELDS)}, not {text!r}")
    return Link(**dict(zip(LINK_FIELDS, map(int, words))))


# ------------------------------------------------------------------ files


HEADER = 4 * KIB


def _header(data_bytes: int, size: int) -> bytes:
    """Of a safetensors file with one tensor. Padded with spaces to ``size``, as writers do to align what follows."""
    text = f'{{"weight":{{"dtype":"U8","shape":[{data_bytes}],"data_offsets":[0,{data_bytes}]}}}}'
    padded = text.encode().ljust(size - 8)
    return len(padded).to_bytes(8, "little") + padded


def fill(file: object, size: int, seed: int) -> None:
    """Random bytes, each MiB of which begins elsewhere in the block, so that a piece out of place shows."""
    rng = random.Random(seed)
    block = rng.getrandbits(16 * MIB).to_bytes(2 * MIB, "little")
    for at in range(0, size, MIB):
        start = rng.randrange(MIB)
        file.write(block[start : start + min(MIB, size - at)])  # type: ignore[attr-defined]


def generate(
    folder: str,
    count: int,
    size: int,
    *,
    sparse: bool = False,
    header: int = HEADER,
    progress: Optional[Callable[[int], object]] = None,
) -> List[str]:
    """Writes ``count`` safetensors files of ``size`` bytes each; their names. Sparse ones hold zeros and no memory.

    ``header`` bytes of each come before the data.
    """
    names = [f"model-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    for number, name in enumerate(names):
        start = _header(max(0, size - header), header)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(start)
            if sparse:
                file.truncate(max(size, header))
            else:
                fill(file, size - header, SEED + number)
        if progress is not None:
            progress(size)
    return names


def scratch(root: str = SHM) -> "tempfile.TemporaryDirectory[str]":
    """A folder for as long as the ``with`` block runs."""
    return tempfile.TemporaryDirectory(prefix="fst3fs-bench-", dir=root)


# ------------------------------------------------------------------ the daemon


class Served(NamedTuple):
    """A directory and the mount that shows it."""

    backing: str
    mount_point: str
    link: Link
    daemon: Usrbiod

    def path(self, name: str) -> str:
        return os.path.join(self.mount_point, name)


@contextmanager
def serve(backing: str, link: Link = NO_LINK, *options: str) -> Iterator[Served]:
    """Serves ``backing`` as a 3FS mount for as long as the block runs; then it is unmounted and the daemon ended."""
    with Usrbiod(backing, None, *link.options(), *options) as daemon:
        yield Served(backing, daemon.mount_point, link, daemon)

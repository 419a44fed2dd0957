# SPDX-License-Identifier: Apache-2.0
"""Files whose bytes all follow from the file's number and their place, so that nothing is kept to compare with."""

import json
import struct
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

MIB = 1 << 20
#: Odd, so that no two words of a file are equal, and a byte out of place shows.
FACTOR = np.uint64(0x9E3779B97F4A7C15)
#: Bytes of a file before its tensors; a multiple of nothing that requests are cut at.
HEADER = 4000


class WrongBytesError(AssertionError):
    """Something was delivered that is not in the file, or beside what was asked for."""


class Made(NamedTuple):
    """A safetensors file. Its tensors are of bytes, one behind the other, with names that no other file has."""

    number: int
    name: str
    head: bytes
    size: int
    tensors: Dict[str, Tuple[int, int]]  # first byte in the file, bytes

    def bytes_at(self, offset: int, length: int) -> "np.ndarray":
        """What is there; less at the end of the file."""
        end = min(offset + length, self.size)
        head = np.frombuffer(self.head[offset:end], np.uint8)
        begin = max(offset, HEADER)
        if begin >= end:
            return head
        first, last = begin // 8, (end + 7) // 8
        words = np.arange(first, last, dtype=np.uint64) + np.uint64(self.number << 40)
        words *= FACTOR
        data = words.view(np.uint8)[begin - 8 * first : end - 8 * first]
        return np.concatenate([head, data]) if len(head) else data


def describe(number: int, sizes: List[int]) -> Made:
    """The file of this number whose tensors have these sizes."""
    tensors, header, at = {}, {}, 0
    for index, size in enumerate(sizes):
        header[f"{number}.{index}"] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        tensors[f"{number}.{index}"] = (HEADER + at, size)
        at += size
    text = json.dumps(header).encode().ljust(HEADER - 8)
    head = struct.pack("<Q", len(text)) + text
    return Made(number, f"model-{number}.safetensors", head, HEADER + at, tensors)


def write(made: Made, folder: Path) -> None:
    with open(folder / made.name, "wb") as file:
        for at in range(0, made.size, 4 * MIB):
            file.write(made.bytes_at(at, 4 * MIB).tobytes())


def compare(what: str, got: "np.ndarray", expected: "np.ndarray") -> None:
    if len(got) != len(expected):
        raise WrongBytesError(f"{what}: {len(got)} bytes instead of {len(expected)}")
    if not np.array_equal(got, expected):
        differing = np.flatnonzero(got != expected)
        first = int(differing[0])
        raise WrongBytesError(
            f"{what}: {len(differing)} of {len(expected)} bytes differ, the first at {first}:"
            f" {got[first : first + 16].tobytes().hex()} instead of {expected[first : first + 16].tobytes().hex()}"
        )


class Guarded:
    """Memory to read into, with a guard on each side that no read may touch."""

    GUARD = 64
    FILL = 0xA5

    def __init__(self, size: int) -> None:
        self._raw = np.full(size + 2 * self.GUARD, self.FILL, np.uint8)
        self.address = int(self._raw.ctypes.data) + self.GUARD

    def check(self, what: str, expected: "np.ndarray") -> None:
        end = self.GUARD + len(expected)
        compare(what, self._raw[self.GUARD : end], expected)
        self._untouched(f"{what}: before the destination", self._raw[: self.GUARD])
        self._untouched(f"{what}: behind what was delivered", self._raw[end:])

    def refill(self) -> None:
        """After a read that failed: whatever comes now comes late."""
        self._raw.fill(self.FILL)

    def check_untouched(self, what: str) -> None:
        self._untouched(f"{what}: after the read had failed", self._raw)

    def _untouched(self, what: str, part: "np.ndarray") -> None:
        if not (part == self.FILL).all():
            raise WrongBytesError(f"{what}: memory was written")

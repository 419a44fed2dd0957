# SPDX-License-Identifier: Apache-2.0
"""Byte equality around every edge: pieces, buffers, requests in flight, offsets, the end of the file."""

import ctypes
from typing import Callable, Iterator, Tuple

import pytest
from support import DATA_SIZE as SIZE
from support import KIB, MIB, Mount, Target, around, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader

UNALIGNED = 123_457


def ranges(piece: int, buffer: int) -> Iterator[Tuple[int, int]]:
    """(offset, length) with both ends at, before and after every edge."""
    offsets = [0, 1, UNALIGNED, *around(piece), *around(buffer), *around(SIZE)]
    lengths = [0, 1, *around(piece), *around(buffer), SIZE, SIZE + 1]
    return ((offset, length) for offset in offsets for length in lengths)


@pytest.mark.parametrize("piece", [4 * KIB, 65_537, 256 * KIB, 2 * MIB])
@pytest.mark.parametrize("buffer", [64 * KIB, MIB, MIB + 12_345])
@pytest.mark.parametrize("entries", [1, 2, 64])
def test_every_edge(
    module_mount: Mount, open_reader: Callable, path: str, data: bytes, piece: int, buffer: int, entries: int
) -> None:
    reader = open_reader(module_mount, entries=entries, buffer_size=buffer)
    target = Target(SIZE)
    for offset, length in ranges(piece, buffer):
        target.reset()
        expected = data[offset : offset + length]
        got = reader.read_chunked(path, target.address, offset, length, piece)
        assert got == len(expected), (offset, length)
        target.check(expected)
    assert reader.info()["window"] <= entries


@pytest.mark.parametrize("chunk_kb", [4, 64, 4096])
@pytest.mark.parametrize("pipelined", [True, False])
def test_pieces_that_the_reader_chooses(serve: Callable, open_reader: Callable, chunk_kb: int, pipelined: bool) -> None:
    mount = serve("--chunk-kb", str(chunk_kb))
    data = random_bytes(SIZE)
    path = mount.write("data", data)
    reader = open_reader(mount, buffer_size=512 * KIB)
    target = Target(SIZE)
    for offset in (0, 1, UNALIGNED, 512 * KIB, SIZE - 1):
        target.reset()
        assert reader.read_chunked(path, target.address, offset, SIZE, pipelined=pipelined) == SIZE - offset
        target.check(data[offset:])


@pytest.mark.parametrize("pipelined", [True, False])
def test_in_turn_and_overlapping_are_the_same(
    module_mount: Mount, open_reader: Callable, path: str, data: bytes, pipelined: bool
) -> None:
    reader = open_reader(module_mount, entries=8, buffer_size=256 * KIB)
    target = Target(SIZE)
    for offset, length in ranges(64 * KIB, 256 * KIB):
        target.reset()
        expected = data[offset : offset + length]
        assert reader.read_chunked(path, target.address, offset, length, 64 * KIB, pipelined) == len(expected)
        target.check(expected)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 511, 512, 4095, 4096, 4097, 65_535, 65_536, 65_537, MIB, 5 * MIB + 3])
def test_sizes_of_files(module_mount: Mount, open_reader: Callable, size: int) -> None:
    data = random_bytes(size, seed=size)
    path = module_mount.write(f"size-{size}", data)
    reader = open_reader(module_mount, buffer_size=256 * KIB)
    target = Target(size + 10)
    for length in {0, 1, size, size + 1, size + 10}:
        target.reset()
        assert reader.read_chunked(path, target.address, 0, length) == min(size, length)
        target.check(data[:length])


@pytest.mark.parametrize("io_depth", [-64, -1, 0, 1, 7, 64, 10_000, -(1 << 31), (1 << 31) - 1])
def test_no_io_depth_hangs_or_changes_bytes(
    module_mount: Mount, open_reader: Callable, path: str, data: bytes, io_depth: int
) -> None:
    reader = open_reader(module_mount, io_depth=io_depth, entries=4)
    target = Target(SIZE)
    assert reader.read_chunked(path, target.address, 0, SIZE) == SIZE
    target.check(data)


def test_download_only_delivers_nowhere(module_mount: Mount, open_reader: Callable, path: str) -> None:
    reader = open_reader(module_mount)
    before = module_mount.stats()["bytes"]
    assert reader.read_chunked(path, 0, 5, SIZE) == SIZE - 5
    assert module_mount.stats()["bytes"] - before == SIZE - 5


def test_into_the_readers_own_buffer(module_mount: Mount, open_reader: Callable, path: str, data: bytes) -> None:
    reader = open_reader(module_mount, buffer_size=MIB)
    base, length = reader.iov_base, reader.iov_length
    assert length >= MIB
    for inside, offset, size in [(0, 0, MIB), (0, UNALIGNED, MIB), (4097, 1, 300_001), (MIB - 1, SIZE - 1, 1)]:
        assert reader.read_chunked(path, base + inside, offset, size) == size
        assert ctypes.string_at(base + inside, size) == data[offset : offset + size]
    assert reader.info()["bytes_direct"] > 0


def test_beyond_the_readers_own_buffer(module_mount: Mount, open_reader: Callable, path: str) -> None:
    reader = open_reader(module_mount, buffer_size=MIB)
    with pytest.raises(ValueError, match=r"data.*border"):
        reader.read_chunked(path, reader.iov_base + 1, 0, reader.iov_length)


def test_chunk_size_larger_than_the_buffer_is_a_cap(
    module_mount: Mount, open_reader: Callable, path: str, data: bytes
) -> None:
    reader = open_reader(module_mount, buffer_size=64 * KIB)
    target = Target(SIZE)
    assert reader.read_chunked(path, target.address, 0, SIZE, 16 << 30) == SIZE
    target.check(data)


def test_chunk_size_caps_a_request(module_mount: Mount, open_reader: Callable, path: str) -> None:
    reader = open_reader(module_mount)
    before = module_mount.stats()["requests"]
    assert reader.read_chunked(path, 0, 0, MIB, 8 * KIB) == MIB
    assert module_mount.stats()["requests"] - before >= MIB // (8 * KIB)


def test_many_ranges_in_one_go(module_mount: Mount, open_reader: Callable, path: str, data: bytes) -> None:
    reader: ThreeFSFileReader = open_reader(module_mount, buffer_size=256 * KIB)
    spans = list(ranges(64 * KIB, 256 * KIB))[::3]
    targets = [Target(length) for _, length in spans]
    results = reader.read_many([(path, t.address, *span) for t, span in zip(targets, spans)])
    for (offset, length), target, got in zip(spans, targets, results):
        expected = data[offset : offset + length]
        assert got == len(expected)
        target.check(expected)

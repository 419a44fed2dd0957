# SPDX-License-Identifier: Apache-2.0
"""Memory of alloc(): the buffer protocol, on every Python, and who keeps what alive."""

import gc
import hashlib
import mmap
import sys
import weakref
from typing import Callable

import numpy as np
import pytest
from support import KIB, MIB, Mount, eventually, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader, _core


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 3 * MIB + 5])
def test_reads_reach_it_without_a_copy(mount: Mount, open_reader: Callable, size: int) -> None:
    data = random_bytes(size)
    path = mount.write("m", data)
    reader = open_reader(mount, buffer_size=256 * KIB)
    memory = reader.alloc(size)
    assert (memory.nbytes, len(memory), memory.address % 4096) == (size, size, 0)
    assert reader.read_chunked(path, memory.address, 0, size) == size
    assert bytes(memory) == data
    assert reader.info()["bytes_direct"] == size


def test_a_read_into_the_middle(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(MIB)
    path = mount.write("m", data)
    reader = open_reader(mount)
    memory = reader.alloc(MIB)
    memoryview(memory)[:] = b"\xa5" * MIB
    assert reader.read_chunked(path, memory.address + 1001, 77, 5000) == 5000
    assert bytes(memory) == b"\xa5" * 1001 + data[77:5077] + b"\xa5" * (MIB - 6001)


def test_it_speaks_the_buffer_protocol(mount: Mount, open_reader: Callable) -> None:
    memory = open_reader(mount).alloc(4096)
    view = memoryview(memory)
    assert (view.format, view.itemsize, view.ndim, view.shape, view.strides) == ("B", 1, 1, (4096,), (1,))
    assert (view.readonly, view.c_contiguous, view.nbytes, view.obj) == (False, True, 4096, memory)
    view[10:14] = b"abcd"
    view[4095] = 7
    assert bytes(view[10:14]) == b"abcd"
    assert view.cast("I")[1023] == 7 << 24
    array = np.frombuffer(memory, np.uint8)
    assert array.ctypes.data == memory.address
    array[:] = 3
    assert bytes(memory) == b"\3" * 4096
    assert hashlib.sha256(memory).digest() == hashlib.sha256(b"\3" * 4096).digest()
    assert bytearray(memory)[0] == 3


def test_a_view_keeps_it_alive(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(MIB)
    path = mount.write("m", data)
    reader = open_reader(mount)
    before = mount.registrations()
    memory = reader.alloc(MIB)
    assert reader.read_chunked(path, memory.address, 0, MIB) == MIB
    array = np.frombuffer(memory, np.uint8)[10:]
    del memory
    gc.collect()
    assert mount.registrations() > before
    assert array.tobytes() == data[10:]
    # The reader may go first.
    reader.close()
    assert array.tobytes() == data[10:]
    del array
    gc.collect()
    assert eventually(lambda: mount.registrations() == 0)


def test_it_outlives_its_reader(mount: Mount) -> None:
    reader = ThreeFSFileReader(str(mount.path), require="usrbio")
    memory = reader.alloc(MIB)
    gone = weakref.ref(reader)
    del reader
    gc.collect()
    assert gone() is None
    memoryview(memory)[:] = b"x" * MIB
    assert bytes(memory) == b"x" * MIB


@pytest.mark.parametrize("size", [0, -1, 1 << 63, 1 << 100])
def test_bad_sizes(mount: Mount, open_reader: Callable, size: int) -> None:
    with pytest.raises(ValueError, match="nbytes"):
        open_reader(mount).alloc(size)


def test_beyond_its_end(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("m", random_bytes(10_000))
    reader = open_reader(mount)
    memory = reader.alloc(mmap.PAGESIZE)
    with pytest.raises(ValueError, match="border"):
        reader.read_chunked(path, memory.address + 1, 0, mmap.PAGESIZE)


def test_it_is_made_by_alloc_alone(mount: Mount, open_reader: Callable) -> None:
    memory = open_reader(mount).alloc(1)
    with pytest.raises(TypeError, match="a method of Reader"):
        type(memory)()


def test_types_are_counted(mount: Mount, open_reader: Callable) -> None:
    """Every object of a heap type holds one reference to it, and gives it back."""
    reader = open_reader(mount)
    kind = type(reader.alloc(1))
    before = sys.getrefcount(kind)
    for _ in range(50):
        reader.alloc(1)
    assert sys.getrefcount(kind) == before


@pytest.mark.parametrize("size", [1, 4097, 2 * MIB, 5 * MIB + 3])
def test_private_memory(mount: Mount, open_reader: Callable, size: int) -> None:
    """It belongs to no reader, is zeroed, and begins at a huge page when it has one."""
    memory = _core.alloc_host(size)
    assert (memory.nbytes, len(memory)) == (size, size)
    assert memory.address % (2 * MIB if size >= 2 * MIB else 4096) == 0
    assert bytes(memory) == bytes(size)
    data = random_bytes(size)
    reader = open_reader(mount)
    assert reader.read_chunked(mount.write("m", data), memory.address, 0, size) == size
    assert bytes(memory) == data
    assert reader.info()["bytes_direct"] == 0


def test_private_memory_is_given_back() -> None:
    def mapped() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[0]) * 4 * KIB

    before = mapped()
    view = memoryview(_core.alloc_host(1 << 30))[1 << 20 :]
    assert mapped() - before >= 1 << 30
    assert view[0] == 0
    view.release()
    assert mapped() - before < 1 << 30


@pytest.mark.parametrize("size", [0, -1, 1 << 50, 1 << 63])
def test_private_memory_of_bad_sizes(size: int) -> None:
    with pytest.raises(ValueError, match=r"nbytes|bytes asked for"):
        _core.alloc_host(size)

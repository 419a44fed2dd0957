# SPDX-License-Identifier: Apache-2.0
"""Reads into the memory of a real GPU. Started by run.sh."""

import ctypes
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, Optional

import numpy as np
import pytest
import torch
from gpu_support import KIB, MIB, Place, random_file, served

from fastsafetensor_3fs_reader import ThreeFSFileReader, create_reader, gpucopy

SIZE = 96 * MIB + 4321
GUARD = 4096

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with served() as place:
        random_file(place.backing / "data.bin", SIZE)
        yield place


@pytest.fixture(scope="module")
def data(place: Place) -> np.ndarray:
    return np.fromfile(place.backing / "data.bin", np.uint8)


@pytest.fixture
def path(place: Place) -> str:
    return str(place.path / "data.bin")


def page_locked(reader: ThreeFSFileReader) -> Optional[bool]:
    """What came of page-locking, which goes on while the first reads are under way."""
    while reader.info()["page_locked"] is None:
        time.sleep(0.001)
    return reader.info()["page_locked"]


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("chunk_size", [0, 1_000_000, 16 << 30])
@pytest.mark.parametrize("buffer_size", [64 * KIB, 1 * MIB, 64 * MIB])
def test_bytes_are_equal(
    place: Place, path: str, data: np.ndarray, buffer_size: int, chunk_size: int, pipelined: bool
) -> None:
    with place.reader(buffer_size=buffer_size) as reader:
        for offset, length in ((0, SIZE), (1, 1), (511, 4097), (4096, 8 * MIB), (MIB + 7, 33 * MIB + 3), (SIZE - 3, 9)):
            want = data[offset : offset + length]
            memory = torch.full((len(want) + 2 * GUARD,), 0xA5, dtype=torch.uint8, device="cuda:0")
            at = memory.data_ptr() + GUARD
            assert reader.read_chunked(path, at, offset, length, chunk_size, pipelined=pipelined) == len(want)
            back = memory.cpu().numpy()
            assert np.array_equal(back[GUARD : GUARD + len(want)], want), "bytes differ"
            assert (back[:GUARD] == 0xA5).all(), "written before the destination"
            assert (back[GUARD + len(want) :] == 0xA5).all(), "written behind what was delivered"
        info = reader.info()
        assert info["devices"] == "cuda:0", info
        assert page_locked(reader) is True, info
        assert info["transport"] == ("usrbio" if place.mounted else "posix"), info


@pytest.mark.parametrize("pipelined", [True, False])
def test_copies_come_after_a_kernel_that_still_reads(
    place: Place, path: str, data: np.ndarray, pipelined: bool
) -> None:
    with place.reader() as reader:
        target = torch.full((SIZE,), 0x5A, dtype=torch.uint8, device="cuda:0")
        seen = torch.zeros_like(target)
        torch.cuda.synchronize()
        torch.cuda._sleep(1_000_000_000)  # about half a second on the default stream
        pending = torch.cuda.Event()
        seen.copy_(target)
        pending.record()
        assert not pending.query(), "the kernel was over before the read began: this proves nothing"
        assert reader.read_chunked(path, target.data_ptr(), 0, SIZE, pipelined=pipelined) == SIZE
        assert (seen == 0x5A).all().item(), "overwritten while a kernel still read it"
        assert np.array_equal(target.cpu().numpy(), data)


def test_a_stream_of_the_callers_own_sees_the_bytes_at_once(place: Place, path: str, data: np.ndarray) -> None:
    stream = torch.cuda.Stream()
    with place.reader() as reader:
        target = torch.zeros(SIZE, dtype=torch.uint8, device="cuda:0")
        torch.cuda.synchronize()
        assert reader.read_chunked(path, target.data_ptr(), 0, SIZE) == SIZE
        with torch.cuda.stream(stream):
            copy = target.clone()
        stream.synchronize()
        assert np.array_equal(copy.cpu().numpy(), data)


def test_page_locked_host_memory_is_host_memory(place: Place, path: str, data: np.ndarray) -> None:
    target = torch.zeros(SIZE, dtype=torch.uint8).pin_memory()
    with place.reader() as reader:
        assert reader.read_chunked(path, target.data_ptr(), 0, SIZE) == SIZE
        assert reader.info()["devices"] == "host"
    assert np.array_equal(target.numpy(), data)


def test_managed_memory(place: Place, path: str, data: np.ndarray) -> None:
    torch.zeros(1, device="cuda:0")  # makes the context current on this thread
    cuda = ctypes.CDLL("libcuda.so.1")
    address = ctypes.c_ulonglong()
    assert cuda.cuMemAllocManaged(ctypes.byref(address), ctypes.c_size_t(SIZE), 1) == 0
    try:
        with place.reader() as reader:
            assert reader.read_chunked(path, address.value, 0, SIZE) == SIZE
            assert reader.info()["devices"] == "cuda:0"
        assert ctypes.string_at(address.value, SIZE) == data.tobytes()
    finally:
        cuda.cuMemFree_v2(address)


def test_threads_with_readers_of_their_own_and_a_shared_one(place: Place, path: str, data: np.ndarray) -> None:
    def work(number: int) -> None:
        reader = shared if number < 3 else place.reader()
        target = torch.zeros(SIZE, dtype=torch.uint8, device="cuda:0")
        torch.cuda.synchronize()
        for _ in range(3):
            target.zero_()
            assert reader.read_chunked(path, target.data_ptr(), 0, SIZE) == SIZE
            assert np.array_equal(target.cpu().numpy(), data)
        if reader is not shared:
            reader.close()

    with place.reader() as shared, ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU here")
def test_several_gpus(place: Place, path: str, data: np.ndarray) -> None:
    with place.reader() as reader:
        for device in range(torch.cuda.device_count()):
            target = torch.zeros(SIZE, dtype=torch.uint8, device=f"cuda:{device}")
            assert reader.read_chunked(path, target.data_ptr(), 0, SIZE) == SIZE
            assert np.array_equal(target.cpu().numpy(), data)
            assert torch.cuda.current_device() == 0


def test_memory_is_given_back(place: Place, path: str) -> None:
    target = torch.zeros(SIZE, dtype=torch.uint8, device="cuda:0")

    def read() -> None:
        with place.reader() as reader:
            assert reader.read_chunked(path, target.data_ptr(), 0, SIZE) == SIZE

    read()
    free = torch.cuda.mem_get_info()[0]
    for _ in range(20):
        read()
    assert torch.cuda.mem_get_info()[0] >= free, "device memory leaks"


def test_host_reads_load_no_driver(place: Place) -> None:
    code = f"""
        import ctypes
        from fastsafetensor_3fs_reader import ThreeFSFileReader
        with ThreeFSFileReader("") as reader:
            target = ctypes.create_string_buffer({SIZE})
            path = {str(place.backing / "data.bin")!r}
            assert reader.read_chunked(path, ctypes.addressof(target), 0, {SIZE}) == {SIZE}
        assert "libcuda" not in open("/proc/self/maps").read()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize("through", ["torch", "driver"])
def test_the_python_backend(
    place: Place, path: str, data: np.ndarray, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    if through == "driver":
        monkeypatch.setattr(gpucopy, "_through_torch", lambda ordinal: None)
    size = 5 * MIB + 3
    memory = torch.full((size + 2 * GUARD,), 0xA5, dtype=torch.uint8, device="cuda:0")
    torch.cuda.synchronize()
    with create_reader("python", mount_point=str(place.path), buffer_size=MIB) as reader:
        assert reader.read_chunked(path, memory.data_ptr() + GUARD, 11, size) == size
        assert reader.info()["devices"] == "cuda:0"
    seen = memory.cpu().numpy()
    assert np.array_equal(seen[GUARD:-GUARD], data[11 : 11 + size])
    assert (seen[:GUARD] == 0xA5).all()
    assert (seen[-GUARD:] == 0xA5).all()

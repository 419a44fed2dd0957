# SPDX-License-Identifier: Apache-2.0
"""GPU reads over the fake CUDA driver, one case for each process: gpu_fake_cases.py CASE LIBCUDA MOUNT BACKING.

In a process of its own, because a driver is loaded once and stays; test_gpu_fake.py runs them.
"""

import ctypes
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np
from support import Guarded

from fastsafetensor_3fs_reader import ThreeFSFileReader, create_reader

KIB, MIB = 1 << 10, 1 << 20
PORTABLE = 1


class FakeCuda:
    """The fake driver as an application uses the real one: it holds the primary context of each device."""

    def __init__(self, library: str, devices: int = 2) -> None:
        self.lib = ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        self.lib.fake_cuda_first_wrong.restype = ctypes.c_char_p
        self.call("cuInit", 0)
        self.contexts = [ctypes.c_void_p() for _ in range(devices)]
        for device, context in enumerate(self.contexts):
            self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)

    def call(self, name: str, *args: object) -> None:
        rc = getattr(self.lib, name)(*args)
        assert rc == 0, f"{name} failed: {rc}"

    def calls(self, name: str) -> int:
        return int(self.lib.fake_cuda_calls(name.encode()))

    def alloc(self, size: int, device: int = 0) -> int:
        address = ctypes.c_ulonglong()
        self._current(device, "cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self.call("cuMemFree_v2", ctypes.c_ulonglong(address))

    def fill(self, address: int, data: bytes, device: int = 0) -> None:
        self._current(device, "cuMemcpyHtoD_v2", ctypes.c_ulonglong(address), data, ctypes.c_size_t(len(data)))

    def get(self, address: int, size: int, device: int = 0) -> bytes:
        """What is there now: no stream but the default one is waited for."""
        out = ctypes.create_string_buffer(size)
        self._current(device, "cuMemcpyDtoH_v2", out, ctypes.c_ulonglong(address), ctypes.c_size_t(size))
        return out.raw

    def kernel_that_reads(self, address: int, size: int, delay_us: int) -> ctypes.Array:
        """Something slow in the default stream that only then looks at the memory."""
        seen = ctypes.create_string_buffer(size)
        self._current(0, "fake_cuda_kernel", ctypes.c_ulonglong(address), seen, ctypes.c_size_t(size), 0, delay_us)
        return seen

    def _current(self, device: int, name: str, *args: object) -> None:
        self.call("cuCtxPushCurrent_v2", self.contexts[device])
        try:
            self.call(name, *args)
        finally:
            self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def close(self) -> None:
        for device in range(len(self.contexts)):
            self.call("cuDevicePrimaryCtxRelease_v2", device)
        assert self.lib.fake_cuda_first_wrong() == b"", self.lib.fake_cuda_first_wrong()


class Case:
    def __init__(self, library: str, mount: str, backing: str) -> None:
        self.cuda = FakeCuda(library)
        self.mount, self.backing = mount, Path(backing)

    def file(self, size: int, name: str = "data.bin") -> Tuple[str, bytes]:
        data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
        (self.backing / name).write_bytes(data)
        return str(Path(self.mount) / name), data

    def reader(self, **kwargs: object) -> ThreeFSFileReader:
        return ThreeFSFileReader(self.mount, require="usrbio", **kwargs)


def page_locked(reader: ThreeFSFileReader) -> Optional[bool]:
    """What came of page-locking, which goes on while the first reads are under way."""
    while reader.info()["page_locked"] is None:
        time.sleep(0.001)
    return reader.info()["page_locked"]


GUARD = 4 * KIB
FILL = b"\xa5"


def bytes_are_equal(case: Case) -> None:
    path, data = case.file(3 * MIB + 12345)
    ranges = ((0, len(data)), (1, 2 * MIB), (4095, 4097), (MIB - 1, 1), (777, MIB), (len(data) - 5, 100))
    memory = case.cuda.alloc(len(data) + 2 * GUARD)
    for buffer_size in (64 * KIB, MIB, 8 * MIB):
        with case.reader(buffer_size=buffer_size) as reader:
            for offset, length in ranges:
                for chunk_size in (0, 100_000):
                    for pipelined in (True, False):
                        case.cuda.fill(memory, FILL * (len(data) + 2 * GUARD))
                        at = memory + GUARD + offset % 13
                        got = reader.read_chunked(path, at, offset, length, chunk_size, pipelined=pipelined)
                        want = data[offset : offset + length]
                        assert got == len(want)
                        around = case.cuda.get(at - GUARD // 2, len(want) + GUARD)
                        assert around == FILL * (GUARD // 2) + want + FILL * (GUARD // 2), "bytes differ"
            info = reader.info()
            assert info["devices"] == "cuda:0", info
            assert info["transport"] == "usrbio", info
            assert page_locked(reader) is True, info
    case.cuda.free(memory)


def host_memory_between_guards(case: Case) -> None:
    """Reads of a reader whose buffer is page-locked, to the host and to a GPU in turn."""
    path, data = case.file(3 * MIB + 12345)
    memory = case.cuda.alloc(MIB)
    with case.reader(buffer_size=MIB) as reader:
        reader.read_chunked(path, memory, 0, MIB)
        assert page_locked(reader) is True
        for size in (1, 4097, 256 * KIB + 65, 2 * MIB + 3):
            for flush_with_end in (True, False):
                target = Guarded(size, flush_with_end)
                assert reader.read_many([(path, memory, 0, MIB)]) == [MIB]
                assert reader.read_chunked(path, target.address, 777, size) == size
                target.check(data[777 : 777 + size])
    case.cuda.free(memory)


def comes_after_what_is_queued(case: Case) -> None:
    path, data = case.file(MIB)
    memory = case.cuda.alloc(len(data))
    with case.reader() as reader:
        for pipelined in (True, False):
            case.cuda.fill(memory, FILL * len(data))
            seen = case.cuda.kernel_that_reads(memory, len(data), 200_000)
            assert reader.read_chunked(path, memory, 0, len(data), pipelined=pipelined) == len(data)
            assert case.cuda.get(memory, len(data)) == data
            assert seen.raw == FILL * len(data), "overwritten while a kernel still read it"
    case.cuda.free(memory)


def failures_are_told(case: Case) -> None:
    """FAKE_CUDA_FAIL (set by the test) makes one call of the first read fail."""
    path, data = case.file(2 * MIB)
    memory = case.cuda.alloc(len(data))
    with case.reader(buffer_size=MIB) as reader:
        try:
            reader.read_chunked(path, memory, 0, len(data))
        except RuntimeError as error:
            print("RuntimeError:", error)
        case.cuda.call("fake_cuda_fail", None)
        case.cuda.lib.fake_cuda_heal()
        assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
        assert case.cuda.get(memory, len(data)) == data
    case.cuda.free(memory)


def page_locking_refused(case: Case) -> None:
    lines: List[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("fastsafetensor_3fs_reader").addHandler(handler)
    path, data = case.file(2 * MIB)
    memory = case.cuda.alloc(len(data))
    case.cuda.call("fake_cuda_fail", b"cuMemHostRegister_v2:0:CUDA_ERROR_OUT_OF_MEMORY")
    with case.reader(buffer_size=MIB) as reader:
        for _ in range(20):
            assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
            assert case.cuda.get(memory, len(data)) == data
        assert page_locked(reader) is False
        # The line comes with the read after the outcome is known.
        assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
    told = [line for line in lines if "page-locked" in line]
    assert len(told) == 1, lines
    assert "CUDA_ERROR_OUT_OF_MEMORY" in told[0], told
    assert "memlock" in told[0], told
    case.cuda.free(memory)


def several_gpus_and_readers(case: Case) -> None:
    path, data = case.file(2 * MIB + 333)
    shared = case.reader(buffer_size=MIB)

    def work(number: int) -> None:
        device = number % 2
        # The thread's current device is the other one, and stays so.
        case.cuda.call("cuCtxPushCurrent_v2", case.cuda.contexts[1 - device])
        memory = case.cuda.alloc(len(data), device)
        reader = shared if number < 4 else case.reader(buffer_size=MIB)
        for _ in range(4):
            case.cuda.fill(memory, FILL * len(data), device)
            assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
            assert case.cuda.get(memory, len(data), device) == data
        if reader is not shared:
            reader.close()
        case.cuda.free(memory)
        now = ctypes.c_void_p()
        case.cuda.call("cuCtxGetCurrent", ctypes.byref(now))
        assert now.value == case.cuda.contexts[1 - device].value

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert sorted(shared.info()["devices"].split(",")) == ["cuda:0", "cuda:1"]
    shared.close()


def one_batch_to_gpus_and_host(case: Case) -> None:
    path, data = case.file(MIB + 77)
    memory = [case.cuda.alloc(len(data), device) for device in (0, 1)]
    host = ctypes.create_string_buffer(len(data))
    targets = [memory[0], ctypes.addressof(host), memory[1]]
    with case.reader(buffer_size=MIB) as reader:
        assert reader.read_many([(path, target, 0, len(data)) for target in targets]) == [len(data)] * 3
    assert host.raw == data
    for device in (0, 1):
        assert case.cuda.get(memory[device], len(data), device) == data
        case.cuda.free(memory[device])


def host_reads_touch_no_gpu(case: Case) -> None:
    path, data = case.file(MIB)
    host = ctypes.create_string_buffer(len(data))
    retained = case.cuda.calls("cuDevicePrimaryCtxRetain")
    with case.reader() as reader:
        assert reader.read_chunked(path, ctypes.addressof(host), 0, len(data)) == len(data)
        assert reader.read_chunked(path, 0, 0, len(data)) == len(data)
        assert reader.info()["devices"] == "host"
        assert reader.info()["page_locked"] is None
    assert host.raw == data
    assert case.cuda.calls("cuDevicePrimaryCtxRetain") == retained
    assert case.cuda.calls("cuCtxPushCurrent_v2") == 0


def address_that_the_driver_cannot_judge(case: Case) -> None:
    path, data = case.file(MIB)
    memory = case.cuda.alloc(len(data))
    with case.reader() as reader:
        assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
    # Nothing of the host's is at that address: a memcpy to it would end the process.
    copied = case.cuda.calls("cuMemcpyHtoDAsync_v2")
    case.cuda.call("fake_cuda_fail", b"cuPointerGetAttributes:0:CUDA_ERROR_LAUNCH_FAILED")
    with case.reader() as reader:
        try:
            reader.read_chunked(path, memory, 0, len(data))
            raise AssertionError("read to an address that the driver could not judge")
        except RuntimeError as error:
            assert "cuPointerGetAttributes failed: CUDA_ERROR_LAUNCH_FAILED" in str(error)
    assert case.cuda.calls("cuMemcpyHtoDAsync_v2") == copied
    case.cuda.call("fake_cuda_fail", None)
    case.cuda.free(memory)


def gpu_that_hangs(case: Case) -> None:
    path, data = case.file(MIB)
    memory = case.cuda.alloc(len(data))
    reader: Optional[ThreeFSFileReader] = case.reader(buffer_size=256 * KIB, timeout=0.5)
    assert reader is not None
    case.cuda.lib.fake_cuda_hang(1)
    try:
        reader.read_chunked(path, memory, 0, len(data))
        raise AssertionError("delivered by a GPU that hangs")
    except RuntimeError as error:
        assert "cuda:0" in str(error), error
    case.cuda.lib.fake_cuda_hang(0)
    # What was given up has arrived late, and harms nobody: the next read has a buffer of its own.
    assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
    assert case.cuda.get(memory, len(data)) == data
    assert reader.info()["given_up"] == 1
    reader.close()
    case.cuda.free(memory)


def python_backend(case: Case) -> None:
    path, data = case.file(3 * MIB + 17)
    with create_reader("python", mount_point=case.mount, buffer_size=MIB) as reader:
        for device in (1, 0):
            memory = case.cuda.alloc(len(data) + 2 * GUARD, device)
            case.cuda.fill(memory, FILL * (len(data) + 2 * GUARD), device)
            got = reader.read_chunked(path, memory + GUARD + 3, 5, len(data), 700_000)
            assert got == len(data) - 5
            want = FILL * (GUARD + 3) + data[5:] + FILL * (GUARD + 2)
            assert case.cuda.get(memory, len(data) + 2 * GUARD, device) == want
            case.cuda.free(memory)
        host = ctypes.create_string_buffer(len(data))
        assert reader.read_chunked(path, ctypes.addressof(host), 0, len(data)) == len(data)
        assert host.raw == data
        assert reader.info()["devices"] == "cuda:0,cuda:1,host"


def python_backend_failures_are_told(case: Case) -> None:
    path, data = case.file(MIB)
    memory = case.cuda.alloc(len(data))
    with create_reader("python", mount_point=case.mount, buffer_size=MIB) as reader:
        for call in ("cuPointerGetAttributes", "cuCtxPushCurrent_v2", "cuMemcpyHtoD_v2", "cuStreamSynchronize"):
            case.cuda.lib.fake_cuda_fail(f"{call}:1:CUDA_ERROR_INVALID_HANDLE".encode())
            try:
                reader.read_chunked(path, memory, 0, len(data))
                raise AssertionError(f"{call} failed, and the read came through")
            except RuntimeError as error:
                assert call in str(error), error
                assert "CUDA_ERROR_INVALID_HANDLE" in str(error), error
        assert reader.read_chunked(path, memory, 0, len(data)) == len(data)
        assert case.cuda.get(memory, len(data)) == data
    case.cuda.free(memory)


CASES: Dict[str, Callable[[Case], None]] = {
    case.__name__: case
    for case in (
        bytes_are_equal,
        host_memory_between_guards,
        comes_after_what_is_queued,
        failures_are_told,
        page_locking_refused,
        several_gpus_and_readers,
        one_batch_to_gpus_and_host,
        host_reads_touch_no_gpu,
        address_that_the_driver_cannot_judge,
        gpu_that_hangs,
        python_backend,
        python_backend_failures_are_told,
    )
}

if __name__ == "__main__":
    running = Case(*sys.argv[2:])
    CASES[sys.argv[1]](running)
    running.cuda.close()

# SPDX-License-Identifier: Apache-2.0
"""One reader, many threads; many readers; the GIL."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List

from support import KIB, MIB, Mount, Target, eventually, random_bytes, safetensors_file, threads

SIZE = 2 * MIB + 11


def test_many_threads_on_one_reader(mount: Mount, open_reader: Callable) -> None:
    data = [random_bytes(SIZE, seed=i) for i in range(8)]
    paths = [mount.write(f"m-{i}", d) for i, d in enumerate(data)]
    reader = open_reader(mount, entries=16, buffer_size=512 * KIB)

    def work(number: int) -> None:
        target = Target(SIZE)
        for i in range(24):
            which, offset = (number + i) % 8, 31_337 * i
            target.reset()
            expected = data[which][offset:]
            assert reader.read_chunked(paths[which], target.address, offset, SIZE, 64 * KIB) == len(expected)
            target.check(expected)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert reader.info()["open_files"] == 8


def test_every_method_from_many_threads(mount: Mount, open_reader: Callable) -> None:
    data = safetensors_file(random_bytes(300_000))
    path = mount.write("m", data)
    reader = open_reader(mount, buffer_size=256 * KIB)
    target = threading.local()

    def read(_: int) -> None:
        target.memory = Target(len(data))
        assert reader.read_chunked(path, target.memory.address, 0, len(data), pipelined=False) == len(data)
        target.memory.check(data)

    def own_buffer(_: int) -> None:
        base = reader.iov_base
        if base:
            reader.read_chunked(path, base, 0, 1000)

    def memory(_: int) -> None:
        allocated = reader.alloc(len(data))
        assert reader.read_chunked(path, allocated.address, 0, len(data)) == len(data)
        assert bytes(allocated) == data

    work: List[Callable[[int], object]] = [
        read,
        memory,
        lambda _: reader.read_headers_batch([path] * 5, num_threads=3),
        lambda _: reader.info(),
        lambda _: reader.has_fd(path),
        lambda _: reader.read_many([(path, 0, 0, len(data))] * 3),
    ]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda i: work[i % len(work)](i), range(240)))


def test_closing_while_others_read(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(SIZE)
    path = mount.write("m", data)
    reader = open_reader(mount, buffer_size=256 * KIB)
    stop = threading.Event()

    def work(_: int) -> int:
        target, rounds = Target(SIZE), 0
        while not stop.is_set():
            target.reset()
            assert reader.read_chunked(path, target.address, 0, SIZE, 64 * KIB) == SIZE
            target.check(data)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(work, i) for i in range(4)]
        for _ in range(30):
            reader.close()
        stop.set()
        assert all(result.result() > 0 for result in results)


def test_many_readers(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(SIZE)
    path = mount.write("m", data)
    readers = [open_reader(mount, buffer_size=256 * KIB) for _ in range(8)]

    def work(reader: object) -> None:
        target = Target(SIZE)
        for _ in range(5):
            target.reset()
            assert reader.read_chunked(path, target.address, 0, SIZE) == SIZE
            target.check(data)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, readers))
    # One of them going away disturbs no other.
    for reader in readers:
        for other in readers:
            assert other.read_chunked(path, 0, 0, 1000) == 1000
        reader.close()


def test_a_read_lets_other_threads_run(serve: Callable, open_reader: Callable) -> None:
    mount = serve("--latency-us", "500000")
    path = mount.write("m", b"data")
    reader = open_reader(mount)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(reader.read_chunked, path, 0, 0, 4)
        steps = 0
        while not result.done():
            steps += 1
        assert result.result() == 4
    # Without the GIL released, this loop would have got one or two turns.
    assert steps > 100


def test_threads_do_not_pile_up(mount: Mount, open_reader: Callable) -> None:
    paths = [mount.write(f"m-{i}", safetensors_file(b"abc")) for i in range(50)]
    reader = open_reader(mount)

    def use() -> None:
        reader.read_headers_batch(paths)
        assert reader.read_many([(path, 0, 0, 5) for path in paths]) == [5] * 50

    use()
    after_one = len(threads())
    for _ in range(10):
        use()
    # Those that have read headers are ending.
    assert eventually(lambda: len(threads()) <= after_one + (os.cpu_count() or 1))

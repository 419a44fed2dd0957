# SPDX-License-Identifier: Apache-2.0
"""Daemons that hang or are replaced, and what a reader must not touch then."""

import contextlib
import gc
import signal
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, List

import pytest
from support import KIB, MIB, Mount, Target, UntilItFails, eventually, in_the_background, random_bytes, safetensors_file

from fastsafetensor_3fs_reader import ThreeFSFileReader

TIMEOUT_S = 0.5


def test_reads_after_a_timeout_end_in_time_too(serve: Callable, open_reader: Callable) -> None:
    # No kernel cache answers for the daemon.
    mount: Mount = serve("--attr-timeout-s", "0", "--latency-us", "20000")
    path = mount.write("model", random_bytes(8 * MIB))
    reader = open_reader(mount, timeout=TIMEOUT_S)

    def read() -> object:
        return reader.read_chunked(path, 0, 0, 8 * MIB)

    reading = UntilItFails(read)
    assert eventually(lambda: reader.info()["requests"] > 0)
    with mount.suspended():
        errors = [reading.error(20), *(UntilItFails(read).error(20) for _ in range(2))]
    assert [type(e) for e in errors] == [TimeoutError] * 3
    assert reader.info()["given_up"] == 1
    assert reader.read_chunked(path, 0, 0, MIB) == MIB


def test_alloc_ends_in_time(mount: Mount, open_reader: Callable) -> None:
    reader = open_reader(mount, timeout=TIMEOUT_S)
    with mount.suspended():
        calls = [UntilItFails(lambda: reader.alloc(MIB)) for _ in range(3)]
        errors = [call.error(10) for call in calls]
    assert [type(e) for e in errors] == [TimeoutError] * 3
    assert len(reader.alloc(MIB)) == MIB


@pytest.mark.parametrize("what", ["directory", "index", "file"])
def test_a_checkpoint_is_not_waited_for_for_ever(serve: Callable, what: str) -> None:
    """Which files it has is asked of the mount before any is read."""
    mount: Mount = serve("--attr-timeout-s", "0")
    path = Path(mount.write("model.safetensors", safetensors_file(random_bytes(KIB))))
    index = Path(mount.write("model.safetensors.index.json", b'{"weight_map": {"t": "model.safetensors"}}'))
    which = {"directory": path.parent, "index": index, "file": path}[what]
    with ThreeFSFileReader(str(mount.path), timeout=TIMEOUT_S) as reader:
        reader.core.checkpoint([str(which)])
        with mount.suspended():
            failed = UntilItFails(lambda: reader.core.checkpoint([str(which)])).error(10)
        assert isinstance(failed, TimeoutError)
        assert str(which) in str(failed)
        assert len(reader.core.checkpoint([str(which)])) == 1


def test_ctrl_c_while_the_daemon_does_not_answer(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("model", random_bytes(MIB))
    reader = open_reader(mount, timeout=60)
    calls: List[Callable[[], object]] = [
        lambda: reader.alloc(MIB),
        lambda: reader.read_chunked(path, 0, 0, MIB),
        lambda: reader.read_headers_batch([path]),
        lambda: reader.core.checkpoint([str(mount.path)]),
    ]
    reader.close()
    with mount.suspended():
        for call in calls:
            with raised_by_a_signal(), pytest.raises(KeyboardInterrupt):
                call()
    assert reader.read_chunked(path, 0, 0, MIB) == MIB


@contextlib.contextmanager
def raised_by_a_signal(action: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A moment after the block began a signal comes, whose handler does something and raises KeyboardInterrupt."""

    def handler(*_: object) -> None:
        action()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_closes_the_reader(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--hang-every", "1")
    path = mount.write("model", random_bytes(MIB))
    reader = open_reader(mount, timeout=60)
    with raised_by_a_signal(reader.close), pytest.raises(KeyboardInterrupt):
        reader.read_chunked(path, 0, 0, MIB)
    assert reader.info()["open_files"] == 0
    assert eventually(lambda: mount.registrations() == 0)


@pytest.mark.parametrize("own_memory", [False, True])
def test_a_file_off_the_mount_that_hangs(serve: Callable, own_memory: bool) -> None:
    mount, other = serve(), serve()
    data = random_bytes(64 * MIB)
    path, elsewhere = mount.write("model", data[:MIB]), other.write("elsewhere", data)
    reader = ThreeFSFileReader(str(mount.path), timeout=TIMEOUT_S, buffer_size=MIB)
    memory = reader.alloc(len(data)) if own_memory else None
    target = Target(0 if own_memory else len(data))
    address = memory.address if memory else target.address
    reading = UntilItFails(lambda: reader.read_chunked(elsewhere, address, 0, len(data)))
    assert eventually(lambda: reader.info()["bytes_posix"] > MIB)
    with other.suspended():
        error = reading.error(20)
        assert isinstance(error, TimeoutError)
        assert "elsewhere" in str(error)
        assert reader.info()["given_up"] == 1
        target_of_next = Target(MIB)
        assert reader.read_chunked(path, target_of_next.address, 0, MIB) == MIB
        target_of_next.check(data[:MIB])
        if memory:
            # The operating system may still write there: nothing else may ever lie at that address.
            del memory
            assert mapped(address)
    # What hung comes back now, and finds everything that it touches in its place.
    time.sleep(0.3)
    assert reader.read_chunked(elsewhere, 0, 0, len(data)) == len(data)
    reader.close()


def mapped(address: int) -> bool:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return any(int(a, 16) <= address < int(b, 16) for a, b in (line.split()[0].split("-") for line in maps))


def test_a_reader_that_is_gone_while_a_file_is_being_opened(mount: Mount) -> None:
    path = mount.write("model", random_bytes(MIB))
    reader = ThreeFSFileReader("", timeout=TIMEOUT_S)
    with mount.suspended():
        with pytest.raises(TimeoutError, match="opened"):
            reader.read_chunked(path, 0, 0, MIB)
        with pytest.raises(TimeoutError, match="headers"):
            reader.read_headers_batch([path])
        del reader
        gc.collect()
    # The opening ends some time later, and what it has opened is closed: the fixtures look.


def test_memory_when_the_mount_was_replaced(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve()
    data = random_bytes(MIB)
    path = mount.write("model", data)
    reader = open_reader(mount, timeout=5.0)
    memory = reader.alloc(MIB)
    assert reader.read_chunked(path, memory.address, 0, MIB) == MIB
    mount.replace()
    memoryview(memory)[:] = bytes(MIB)
    # The daemon of now does not know this memory, but it is memory.
    assert reader.read_chunked(path, memory.address, 0, MIB) == MIB
    assert bytes(memory) == data
    assert reader.info()["bytes_direct"] == MIB
    again = reader.alloc(MIB)
    assert reader.read_chunked(path, again.address, 0, MIB) == MIB
    assert bytes(again) == data
    assert reader.info()["bytes_direct"] == 2 * MIB


def test_many_threads_when_the_mount_was_replaced(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve()
    data = random_bytes(MIB)
    path = mount.write("model", data)
    reader = open_reader(mount, timeout=5.0)
    assert reader.read_chunked(path, 0, 0, MIB) == MIB
    for _ in range(3):
        mount.replace()
        barrier, errors = threading.Barrier(8), []

        def read(barrier: threading.Barrier = barrier, errors: list = errors) -> None:
            target = Target(MIB)
            barrier.wait()
            try:
                assert reader.read_chunked(path, target.address, 0, MIB) == MIB
                target.check(data)
            except OSError as e:
                errors.append(e)

        threads = [in_the_background(read) for _ in range(8)]
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert errors == []


@pytest.mark.parametrize("pipelined", [True, False])
def test_the_timeout_is_about_progress(serve: Callable, open_reader: Callable, pipelined: bool) -> None:
    mount: Mount = serve("--latency-us", "100000", "--jitter-us", "80000")
    data = random_bytes(512 * KIB)
    path = mount.write("model", data)
    # 32 requests, two at a time, take longer together than the time-out; without pipelining nothing is copied before
    # the last of them has landed.
    reader = open_reader(mount, timeout=TIMEOUT_S, entries=2, buffer_size=64 * MIB)
    target = Target(len(data))
    assert reader.read_chunked(path, target.address, 0, len(data), 16 * KIB, pipelined=pipelined) == len(data)
    target.check(data)


def test_ranges_in_the_background_when_the_mount_was_replaced(serve: Callable, scratch: Path) -> None:
    """What was read before that showed has been handed on, and is neither read again nor written to."""
    mount: Mount = serve()
    path = mount.write("model", random_bytes(MIB))
    reader = ThreeFSFileReader(str(mount.path), timeout=5.0)
    memory = reader.alloc(101 * KIB)
    outside = [scratch / f"{n:03}" for n in range(100)]
    for file in outside:
        file.write_bytes(random_bytes(KIB))
    mount.replace()
    # Files are read in this order, and opened no further ahead than 64.
    assert str(outside[-1]) < path
    requests = [(file, memory.address + n * KIB, 0, KIB) for n, file in enumerate([*outside, path])]
    batch = reader.core.start_many(requests, 0)
    assert [batch.wait(n) for n in range(101)] == [KIB] * 101
    batch.finish()
    want = [*(file.read_bytes() for file in outside), (mount.backing / "model").read_bytes()[:KIB]]
    assert bytes(memory) == b"".join(want)
    info = reader.info()
    reader.close()
    assert (info["transport"], info["bytes_direct"]) == ("usrbio", info["bytes_posix"])
    assert info["bytes"] == info["bytes_posix"] + KIB == 101 * KIB

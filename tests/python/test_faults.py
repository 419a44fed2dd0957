# SPDX-License-Identifier: Apache-2.0
"""Daemons that fail, hang, shorten and die."""

import ctypes
import errno
import mmap
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Callable, Tuple

import pytest
from support import KIB, MIB, Mount, Target, UntilItFails, eventually, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader

TIMEOUT_S = 1.0


def read_all(reader: object, path: str, size: int) -> Target:
    target = Target(size)
    assert reader.read_chunked(path, target.address, 0, size, 64 * KIB) == size
    return target


def fail_to_read(mount: Mount, reader: object, error: type = OSError, **kwargs: str) -> Tuple[OSError, str, bytes]:
    """Reads 2 MiB, which fails: the error, and the file's path and bytes."""
    data = random_bytes(2 * MIB)
    path = mount.write("model", data)
    target = Target(len(data))
    with pytest.raises(error, **kwargs) as caught:
        reader.read_chunked(path, target.address, 0, len(data), 64 * KIB)
    assert caught.value.filename == path
    return caught.value, path, data


def test_an_answer_that_is_an_error(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--fail-every", "7")
    reader = open_reader(mount)
    error, path, data = fail_to_read(mount, reader, match="model")
    assert error.errno == errno.EREMOTEIO
    # Everything in flight was collected, and the same reader goes on.
    assert mount.stats()["in_flight"]["now"] == 0
    for offset in range(0, MIB, 64 * KIB):
        piece = Target(64 * KIB)
        try:
            reader.read_chunked(path, piece.address, offset, 64 * KIB)
        except OSError as e:
            assert e.errno == errno.EREMOTEIO
        else:
            piece.check(data[offset : offset + 64 * KIB])
    assert reader.info()["given_up"] == 0


def test_a_short_answer_inside_the_file_is_never_a_short_result(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--short-every", "5")
    error, _, _ = fail_to_read(mount, open_reader(mount), match="short")
    assert error.errno == errno.EIO
    assert mount.stats()["in_flight"]["now"] == 0


def test_a_request_that_never_completes(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--hang-every", "10")
    reader = open_reader(mount, timeout=TIMEOUT_S)
    error, path, data = fail_to_read(mount, reader, TimeoutError)
    assert error.errno == errno.ETIMEDOUT
    assert reader.info()["given_up"] == 1
    # The next read gets a buffer and a ring of its own: nothing of the old one can reach it.
    read_all(reader, path, 300 * KIB).check(data[: 300 * KIB])
    reader.close()
    assert eventually(lambda: mount.registrations() == 0)


def test_the_timeout_from_the_environment(
    serve: Callable, open_reader: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount: Mount = serve("--hang-every", "1")
    path = mount.write("model", b"data")
    monkeypatch.setenv("FST3FS_TIMEOUT", "0.5")
    with pytest.raises(TimeoutError, match="model"):
        open_reader(mount).read_chunked(path, 0, 0, 4)
    monkeypatch.setenv("FST3FS_TIMEOUT", "1000")
    with pytest.raises(TimeoutError, match="model"):
        open_reader(mount, timeout=0.5).read_chunked(path, 0, 0, 4)


def reading(reader: object, path: str, size: int) -> UntilItFails:
    """A thread that reads, and has got something already."""
    thread = UntilItFails(lambda: reader.read_chunked(path, 0, 0, size, 64 * KIB))
    assert eventually(lambda: reader.info()["requests"] > 0)
    return thread


def test_a_copy_that_takes_longer_than_the_timeout(serve: Callable, open_reader: Callable) -> None:
    """Into memory whose pages come from a daemon that answers nothing meanwhile."""
    mount: Mount = serve()
    slow: Mount = serve()
    data = random_bytes(MIB)
    path, pages = mount.write("model", data), slow.write("pages", bytes(MIB))
    reader = open_reader(mount, timeout=0.3)
    with open(pages, "rb") as file:
        memory = mmap.mmap(file.fileno(), MIB, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))
    with ThreadPoolExecutor(1) as pool:
        with slow.suspended():
            result = pool.submit(reader.read_chunked, path, address, 0, MIB)
            # It cannot end before: nothing may be written to the memory when it has.
            assert not wait([result], 4.0).done
        error = result.exception()
    assert isinstance(error, TimeoutError)
    assert "copies to host did not end" in str(error)
    assert reader.info()["given_up"] == 1
    assert reader.read_chunked(path, address, 0, MIB) == MIB
    assert memory[:] == data


def test_the_daemon_is_killed_during_a_read(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--latency-us", "20000")
    path = mount.write("model", random_bytes(8 * MIB))
    thread = reading(open_reader(mount, timeout=5.0), path, 8 * MIB)
    mount.kill()
    error = thread.error()
    assert error.errno in (errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED)
    assert "model" in str(error)


def test_the_daemon_is_killed_while_a_reader_registers(serve: Callable) -> None:
    mount: Mount = serve("--meta-latency-us", "500000")
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(ThreeFSFileReader, str(mount.path), require="usrbio")
        assert not wait([result], 1.5).done
        mount.kill()
        error = result.exception()
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOTCONN
    assert "its daemon is gone" in str(error)


def test_the_daemon_stops_answering_during_a_read(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--latency-us", "20000")
    path = mount.write("model", random_bytes(8 * MIB))
    thread = reading(open_reader(mount, timeout=TIMEOUT_S), path, 8 * MIB)
    with mount.suspended():
        error = thread.error()
    assert isinstance(error, TimeoutError)
    assert "model" in str(error)


def test_the_daemon_ends_and_another_takes_its_place(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve(name="mnt", backing="b")
    data = random_bytes(MIB)
    path = mount.write("model", data)
    reader = open_reader(mount, timeout=5.0)
    read_all(reader, path, MIB).check(data)
    mount.replace()

    def again() -> bool:
        try:
            read_all(reader, path, MIB).check(data)
        except OSError:
            time.sleep(0.1)
            return False
        return True

    assert eventually(again, 30)


def test_no_read_hangs_with_everything_going_wrong(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--fail-every", "11", "--hang-every", "37", "--short-every", "13", "--jitter-us", "500")
    data = random_bytes(MIB)
    path = mount.write("model", data)
    reader = open_reader(mount, timeout=0.3)
    complete = 0
    for i in range(40):
        offset = 12_345 * i % MIB
        target = Target(64 * KIB)
        try:
            got = reader.read_chunked(path, target.address, offset, 64 * KIB, 16 * KIB)
        except OSError as e:
            assert e.errno in (errno.EREMOTEIO, errno.EIO, errno.ETIMEDOUT)
            continue
        expected = data[offset : offset + 64 * KIB]
        assert got == len(expected)
        target.check(expected)
        complete += 1
    assert complete > 0

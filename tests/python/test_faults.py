# SPDX-License-Identifier: Apache-2.0
"""Daemons that fail, hang, shorten and die."""

import errno
import os
import signal
import threading
import time
from typing import Callable

import pytest
from support import KIB, MIB, Mount, Target, eventually, random_bytes

TIMEOUT_S = 1.0


def read_all(reader: object, path: str, size: int) -> Target:
    target = Target(size)
    assert reader.read_chunked(path, target.address, 0, size, 64 * KIB) == size
    return target


def test_an_answer_that_is_an_error(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--fail-every", "7")
    data = random_bytes(2 * MIB)
    path = mount.write("model", data)
    reader = open_reader(mount)
    target = Target(len(data))
    with pytest.raises(OSError, match="model") as caught:
        reader.read_chunked(path, target.address, 0, len(data), 64 * KIB)
    assert caught.value.errno == errno.EREMOTEIO
    assert caught.value.filename == path
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
    data = random_bytes(2 * MIB)
    path = mount.write("model", data)
    reader = open_reader(mount)
    target = Target(len(data))
    with pytest.raises(OSError, match="short") as caught:
        reader.read_chunked(path, target.address, 0, len(data), 64 * KIB)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, path)
    assert mount.stats()["in_flight"]["now"] == 0


def test_a_request_that_never_completes(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--hang-every", "10")
    data = random_bytes(2 * MIB)
    path = mount.write("model", data)
    reader = open_reader(mount, timeout=TIMEOUT_S)
    target = Target(len(data))
    with pytest.raises(TimeoutError) as caught:
        reader.read_chunked(path, target.address, 0, len(data), 64 * KIB)
    assert caught.value.errno == errno.ETIMEDOUT
    assert caught.value.filename == path
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


def reading_in_the_background(reader: object, path: str, size: int, errors: list) -> threading.Thread:
    def read() -> None:
        try:
            while True:
                reader.read_chunked(path, 0, 0, size, 64 * KIB)
        except OSError as e:
            errors.append(e)

    thread = threading.Thread(target=read)
    thread.start()
    eventually(lambda: reader.info()["requests"] > 0)
    return thread


def test_the_daemon_is_killed_during_a_read(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--latency-us", "20000")
    path = mount.write("model", random_bytes(8 * MIB))
    reader = open_reader(mount, timeout=5.0)
    errors: list = []
    thread = reading_in_the_background(reader, path, 8 * MIB, errors)
    os.kill(mount.daemon.pid, signal.SIGKILL)
    thread.join(60)
    assert not thread.is_alive()
    assert errors[0].errno in (errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED)
    assert "model" in str(errors[0])


def test_the_daemon_stops_answering_during_a_read(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve("--latency-us", "20000")
    path = mount.write("model", random_bytes(8 * MIB))
    reader = open_reader(mount, timeout=TIMEOUT_S)
    errors: list = []
    thread = reading_in_the_background(reader, path, 8 * MIB, errors)
    os.kill(mount.daemon.pid, signal.SIGSTOP)
    try:
        thread.join(60)
        assert not thread.is_alive()
        assert isinstance(errors[0], TimeoutError)
        assert "model" in str(errors[0])
    finally:
        os.kill(mount.daemon.pid, signal.SIGCONT)


def test_the_daemon_ends_and_another_takes_its_place(serve: Callable, open_reader: Callable) -> None:
    mount: Mount = serve(name="mnt", backing="b")
    data = random_bytes(MIB)
    path = mount.write("model", data)
    reader = open_reader(mount, timeout=5.0)
    read_all(reader, path, MIB).check(data)
    os.kill(mount.daemon.pid, signal.SIGKILL)
    eventually(lambda: mount.daemon.returncode is not None)
    mount.daemon.stop()
    mount.daemon.start()

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

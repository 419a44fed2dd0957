# SPDX-License-Identifier: Apache-2.0
"""How processes end: killed, interrupted, forked, or without a goodbye."""

import gc
import os
import signal
import subprocess
import textwrap
from typing import Callable

import pytest
from support import MIB, Mount, Target, eventually, open_fds, python, random_bytes, shm_objects

from fastsafetensor_3fs_reader import MockFileReader, ThreeFSFileReader

#: Reads in a loop, after it has said so.
READ_FOR_EVER = textwrap.dedent(
    """
    import sys
    from fastsafetensor_3fs_reader import ThreeFSFileReader
    reader = ThreeFSFileReader(sys.argv[1], require="usrbio", buffer_size=1 << 20)
    memory = reader.alloc(1 << 20)
    reader.read_chunked(sys.argv[2], memory.address, 0, 1 << 20)
    print(reader.info()["transport"], flush=True)
    while True:
        reader.read_chunked(sys.argv[2], 0, 0, 1 << 40)
    """
)


def start_reading(mount: Mount, path: str) -> "subprocess.Popen[str]":
    process = python("-c", READ_FOR_EVER, str(mount.path), path)
    assert process.stdout is not None
    assert process.stdout.readline() == "usrbio\n"
    return process


def finish(process: "subprocess.Popen[str]") -> str:
    """What it wrote to stderr, after its end."""
    return process.communicate(timeout=60)[1]


def test_kill_9_leaves_nothing(serve: Callable) -> None:
    mount = serve("--latency-us", "5000")
    path = mount.write("m", random_bytes(8 * MIB))
    process = start_reading(mount, path)
    assert mount.registrations() >= 3
    process.kill()
    finish(process)
    assert shm_objects(process.pid) == set()
    assert eventually(lambda: mount.registrations() == 0), mount.stats()
    # The daemon is well: another reader gets everything.
    with ThreeFSFileReader(str(mount.path), require="usrbio") as reader:
        assert reader.read_chunked(path, 0, 0, 8 * MIB) == 8 * MIB


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 5, 10, 20, 50, 100, 150, 200])
def test_kill_9_at_any_moment(mount: Mount, delay_ms: int) -> None:
    path = mount.write("m", random_bytes(MIB))
    script = "import sys; from fastsafetensor_3fs_reader import _core; print(flush=True)\n" + READ_FOR_EVER
    process = python("-c", script, str(mount.path), path)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(delay_ms / 1000)
    process.kill()
    finish(process)
    # An object may have lost its owner between its making and its unlinking: the next reader sweeps it.
    with ThreeFSFileReader(str(mount.path), require="usrbio") as reader:
        assert reader.read_chunked(path, 0, 0, MIB) == MIB
    assert eventually(lambda: shm_objects(process.pid) == set())
    assert eventually(lambda: mount.registrations() == 0), mount.stats()


@pytest.mark.parametrize("options", [["--latency-us", "5000"], ["--hang-every", "200"]])
def test_ctrl_c_ends_a_read(serve: Callable, options: list) -> None:
    mount = serve(*options)
    process = start_reading(mount, mount.write("m", random_bytes(8 * MIB)))
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in finish(process)
    assert process.returncode == -signal.SIGINT
    assert shm_objects(process.pid) == set()
    assert eventually(lambda: mount.registrations() == 0), mount.stats()


def test_a_signal_handler_runs_during_a_read(serve: Callable, open_reader: Callable) -> None:
    mount = serve("--hang-every", "1")
    path = mount.write("m", b"data")
    reader = open_reader(mount, timeout=60)

    class AlarmError(Exception):
        pass

    def ring(*_: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(AlarmError):
            reader.read_chunked(path, 0, 0, 4)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_reader_after_fork(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(MIB)
    path = mount.write("m", data)
    reader, mock = open_reader(mount), MockFileReader()
    target = Target(MIB)
    assert reader.read_chunked(path, target.address, 0, MIB) == MIB
    pid = os.fork()
    if pid == 0:
        os._exit(in_the_child(reader, mock, path))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # The parent's stays intact.
    target.reset()
    assert reader.read_chunked(path, target.address, 0, MIB) == MIB
    target.check(data)
    assert mount.registrations() > 0
    assert reader.info()["given_up"] == 0


def in_the_child(reader: ThreeFSFileReader, mock: MockFileReader, path: str) -> int:
    """The number of the first thing that went wrong, or 0."""
    calls = [
        lambda: reader.read_chunked(path, 0, 0, 1),
        lambda: reader.read_many([(path, 0, 0, 1)]),
        lambda: reader.read_headers_batch([path]),
        lambda: reader.alloc(10),
        reader.info,
        lambda: mock.read_chunked(path, 0, 0, 1),
        lambda: mock.read_headers_batch([path]),
    ]
    for number, call in enumerate(calls, 1):
        try:
            call()
        except RuntimeError as e:
            if "child" in str(e):
                continue
            return number
        except BaseException:
            return number
        return number
    try:
        # Letting go of it is fine, and disturbs nobody.
        reader.close()
        with ThreeFSFileReader(os.path.dirname(path), require="usrbio") as own:
            return 0 if own.read_chunked(path, 0, 0, MIB) == MIB else 100
    except BaseException:
        return 101


def test_a_reader_that_is_dropped_releases_everything(mount: Mount) -> None:
    path = mount.write("m", random_bytes(MIB))
    before = open_fds()
    reader = ThreeFSFileReader(str(mount.path), require="usrbio")
    reader.read_chunked(path, 0, 0, MIB)
    assert mount.registrations() > 0
    assert open_fds() > before
    del reader
    gc.collect()
    assert eventually(lambda: mount.registrations() == 0)
    assert eventually(lambda: open_fds() == before)


def test_a_process_that_ends_without_closing(mount: Mount) -> None:
    path = mount.write("m", random_bytes(MIB))
    script = READ_FOR_EVER.replace("while True:", "for _ in range(3):")
    process = python("-c", script, str(mount.path), path)
    assert finish(process) == ""
    assert process.returncode == 0
    assert shm_objects(process.pid) == set()
    assert eventually(lambda: mount.registrations() == 0)

# SPDX-License-Identifier: Apache-2.0
"""How the demo, the benchmark and these tests start usrbiod."""

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fastsafetensor_3fs_reader import extract_mount_point
from fastsafetensor_3fs_reader.usrbiod import Usrbiod, is_mounted


@pytest.fixture(autouse=True)
def temporary(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the daemon's own folders go."""
    folder = scratch / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def backing(scratch: Path) -> Path:
    (scratch / "backing").mkdir()
    (scratch / "backing" / "file").write_bytes(b"data")
    return scratch / "backing"


def test_a_mount_point_of_its_own(backing: Path, temporary: Path) -> None:
    with Usrbiod(str(backing)) as daemon:
        path = Path(daemon.mount_point, "file")
        assert path.read_bytes() == b"data"
        assert extract_mount_point(path) == daemon.mount_point
        assert Path(daemon.mount_point).is_relative_to(temporary)
    assert not is_mounted(daemon.mount_point)
    assert list(temporary.iterdir()) == []


def test_a_mount_point_of_the_callers(backing: Path, scratch: Path, temporary: Path) -> None:
    (scratch / "mine").mkdir()
    with Usrbiod(str(backing), str(scratch / "mine"), "--latency-us", "1"):
        assert (scratch / "mine" / "file").read_bytes() == b"data"
    assert list((scratch / "mine").iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_a_daemon_that_does_not_start(scratch: Path, temporary: Path) -> None:
    with pytest.raises(RuntimeError, match="missing"), Usrbiod(str(scratch / "missing")):
        pass
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_is_being_started(
    backing: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The signal comes when the process is there and nobody has been told."""
    started = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.raise_signal(number)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(number, interrupt)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", Interrupted)
            daemon = Usrbiod(str(backing))
            with pytest.raises(KeyboardInterrupt, match=str(int(number))):
                daemon.start()
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert [process.poll() is not None for process in started] == [True]
    assert not is_mounted(daemon.mount_point)
    assert list(temporary.iterdir()) == []


def test_what_is_served_is_never_removed(backing: Path, temporary: Path) -> None:
    daemon = Usrbiod(str(backing)).start()
    try:
        daemon.discard()
        assert (backing / "file").read_bytes() == b"data"
    finally:
        daemon.stop()
        daemon.discard()
    assert list(temporary.iterdir()) == []

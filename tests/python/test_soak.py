# SPDX-License-Identifier: Apache-2.0
"""`make soak` in short, and that it would notice: bytes that differ, memory that is written, what is left."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import content
import ledger
import numpy as np
import pytest
from support import ROOT

SOAK = ROOT / "tests" / "soak"


@pytest.mark.timeout(600)
def test_a_short_one() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK / "soak.py"), "--seconds", "20", "--seed", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 1, 20 s\n")
    assert len(re.findall(r"^\d\d:\d\d:\d\d stretch \d: .* 0 failures$", done.stdout, re.MULTILINE)) >= 2
    assert len(re.findall(r"^process of \d thread.* 0 -> 0$", done.stdout, re.MULTILINE)) == 5


@pytest.fixture
def made(tmp_path: Path) -> content.Made:
    made = content.describe(3, [1000, 17, 70_000])
    content.write(made, tmp_path)
    return made


@pytest.mark.parametrize("offset", [0, 3990, 3999, 4000, 4001, 4007, 5000, 74_000, 75_016, 80_000])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 4000, 80_000])
def test_what_is_expected_is_what_is_written(made: content.Made, tmp_path: Path, offset: int, length: int) -> None:
    whole = (tmp_path / made.name).read_bytes()
    assert made.bytes_at(offset, length).tobytes() == whole[offset : offset + length]


def test_it_is_a_safetensors_file(made: content.Made, tmp_path: Path) -> None:
    tensors = pytest.importorskip("safetensors.numpy").load_file(tmp_path / made.name)
    assert {name: len(tensor) for name, tensor in tensors.items()} == {"3.0": 1000, "3.1": 17, "3.2": 70_000}
    for name, tensor in tensors.items():
        assert np.array_equal(tensor, made.bytes_at(*made.tensors[name]))


def test_a_wrong_byte_is_noticed(made: content.Made) -> None:
    expected = made.bytes_at(100, 5000)
    for at in (0, 2500, 4999):
        got = expected.copy()
        got[at] ^= 1
        with pytest.raises(content.WrongBytesError, match=f"1 of 5000 bytes differ, the first at {at}:"):
            content.compare("a read", got, expected)
    with pytest.raises(content.WrongBytesError, match="4999 bytes instead of 5000"):
        content.compare("a read", expected[:-1], expected)
    # Of another place, or of another file.
    with pytest.raises(content.WrongBytesError):
        content.compare("a read", made.bytes_at(4108, 5000), made.bytes_at(4100, 5000))
    with pytest.raises(content.WrongBytesError):
        content.compare("a read", content.describe(4, [1000, 17, 70_000]).bytes_at(5000, 8), made.bytes_at(5000, 8))


@pytest.mark.parametrize("at", [-1, 10])
def test_what_is_written_beside_a_destination_is_noticed(at: int) -> None:
    target = content.Guarded(10)
    memory = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_ubyte * 20).from_address(target.address - 5))
    memory[5:15] = 7
    target.check("a read", np.full(10, 7, np.uint8))
    memory[5 + at] = 7
    with pytest.raises(content.WrongBytesError, match="memory was written"):
        target.check("a read", np.full(10, 7, np.uint8))


def test_what_is_written_late_is_noticed() -> None:
    target = content.Guarded(10)
    target.check_untouched("a read")
    np.ctypeslib.ctypes.memset(target.address + 9, 0, 1)
    with pytest.raises(content.WrongBytesError, match="after the read had failed: memory was written"):
        target.check_untouched("a read")
    target.refill()
    target.check_untouched("a read")


def test_what_is_left_is_noticed(tmp_path: Path) -> None:
    before = ledger.take()
    assert ledger.differences(before, ledger.take()) == []
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with open(tmp_path / "left", "w", encoding="ascii"):
        more = ledger.take()
        assert not ledger.is_back(before, more)
        fds, threads = ledger.differences(before, more)
    assert fds == f"1 more fds: {tmp_path}/left"
    assert threads.startswith("1 more threads: ")
    stop.set()
    thread.join()
    (memory,) = ledger.differences(before, before._replace(memory=before.memory + 2 * ledger.GROWTH))
    assert "MiB more memory" in memory
    assert ledger.differences(before, before._replace(shm=["hf3fs-iov-x"])) == [
        "1 more objects in /dev/shm: hf3fs-iov-x"
    ]

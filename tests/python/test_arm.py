# SPDX-License-Identifier: Apache-2.0
"""The wheel for Arm, run under qemu-user with this machine on the other side. `make arm` builds it."""

import hashlib
import os
import struct
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Callable, List

import pytest
from support import MIB, ROOT, Mount, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader

SITE = ROOT / "build-site-aarch64"
EMULATE = ROOT / "hack" / "emulate"
PYTHON = ROOT / "build-sysroot-aarch64" / "usr" / "bin" / "python3"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (SITE / ".ready").exists(), reason="nothing is built for Arm: make arm"),
]

READ = """
import hashlib, platform, sys
from fastsafetensor_3fs_reader import ThreeFSFileReader, get_backend
with ThreeFSFileReader(sys.argv[1], require="usrbio", entries=4, buffer_size=1 << 20) as reader:
    memory = reader.alloc(int(sys.argv[3]))
    assert reader.read_chunked(sys.argv[2], memory.address, 0, len(memory)) == len(memory)
    info = reader.info()
print(platform.machine(), get_backend(), info["transport"], info["bytes_direct"], hashlib.sha256(memory).hexdigest())
"""


PT_LOAD = 1
LARGEST_PAGE = 64 << 10  # of kernels for Arm


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `make wheel` lays it into dist/."""
    (wheel,) = (ROOT / "build-dist-aarch64").glob("*.whl")
    assert "-cp39-abi3-linux_aarch64" in wheel.name
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-I", "-m", "auditwheel", "repair", "--exclude", "libfuse3.so.*", "-w", out, wheel]
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    subprocess.run(command, check=True, env={**os.environ, "PATH": path}, capture_output=True)
    (repaired,) = out.iterdir()
    return repaired


def test_the_wheel_is_for_most_linuxes(repaired: Path) -> None:
    assert "-cp39-abi3-manylinux_2_" in repaired.name
    assert repaired.name.endswith("_aarch64.whl")
    abi3audit = Path(sysconfig.get_path("scripts")) / "abi3audit"
    audited = subprocess.run([abi3audit, "--strict", repaired], check=False, capture_output=True, text=True)
    assert audited.returncode == 0, audited.stderr


def alignments(elf: bytes) -> List[int]:
    """Of what the kernel and the loader map from a file."""
    (at,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    segments = [struct.unpack_from("<II6Q", elf, at + i * size) for i in range(count)]
    return [segment[-1] for segment in segments if segment[0] == PT_LOAD]


def test_it_loads_where_pages_are_large(repaired: Path) -> None:
    with zipfile.ZipFile(repaired) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    programs = {name: alignments(data) for name, data in files.items() if data.startswith(b"\x7fELF")}
    assert len(programs) == 3, "the module, the drop-in and usrbiod"
    assert {name: found for name, found in programs.items() if not found or min(found) < LARGEST_PAGE} == {}


def test_a_reader_on_arm_and_a_daemon_of_this_machine(mount: Mount) -> None:
    data = random_bytes(3 * MIB + 5)
    path = mount.write("model", data)
    done = subprocess.run(
        [EMULATE, PYTHON, "-c", READ, str(mount.path), path, str(len(data))],
        env={**os.environ, "PYTHONPATH": str(SITE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["aarch64", "c", "usrbio", str(len(data)), hashlib.sha256(data).hexdigest()]
    assert mount.stats()["bytes"] == len(data)


def test_a_daemon_on_arm_and_a_reader_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, scratch: Path, serve: Callable[..., Mount]
) -> None:
    script = scratch / "usrbiod"
    script.write_text(f'#!/bin/sh\nexec {EMULATE} {SITE / "bin" / "usrbiod"} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("USRBIOD", str(script))
    mount = serve()
    data = random_bytes(3 * MIB + 5)
    path = mount.write("model", data)
    with ThreeFSFileReader(str(mount.path), require="usrbio", entries=4, buffer_size=MIB) as reader:
        memory = reader.alloc(len(data))
        assert reader.read_chunked(path, memory.address, 0, len(data)) == len(data)
        assert bytes(memory) == data
    assert mount.stats()["bytes"] == len(data)

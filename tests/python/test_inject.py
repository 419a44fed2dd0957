# SPDX-License-Identifier: Apache-2.0
"""Every failure once: each allocation and system call of ours fails in turn, and nothing comes of it but an error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, Mount, dropin

HERE = Path(__file__).parent


@pytest.fixture
def injector(tmp_path: Path) -> str:
    """The library of tests/inject: its path."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler to build the injector with")
    library = tmp_path / "inject.so"
    sources = [str(source) for source in sorted((ROOT / "tests" / "inject").glob("*.c"))]
    command = [compiler, "-shared", "-fPIC", "-O1", "-g", "-std=gnu11", "-D_GNU_SOURCE", "-fvisibility=hidden"]
    subprocess.run([*command, "-o", str(library), *sources, "-pthread"], check=True)
    return str(library)


@pytest.mark.timeout(7200 if os.environ.get("INJECT") == "all" else 900)
def test_every_failure_once(injector: str, fake_cuda: str, sdk: str, mount: Mount) -> None:
    places = {
        "injector": injector,
        "cuda": fake_cuda,
        "dropin": dropin(),
        "mount": str(mount.path),
        "backing": str(mount.backing),
        "every_call": os.environ.get("INJECT") == "all",
    }
    command = [sys.executable, str(HERE / "inject_cases.py"), json.dumps(places)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 1, "\n".join([*lines, done.stderr])
    assert int(lines[0].split()[0]) > 300, "far fewer calls than there are"

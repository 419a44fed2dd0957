# SPDX-License-Identifier: Apache-2.0
"""The command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, Mount, random_bytes

from fastsafetensor_3fs_reader import __version__


def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """As people type it, at the top of a clone: Python looks for modules there first."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "fastsafetensor_3fs_reader", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_info() -> None:
    facts = json.loads(cli("info", "--json").stdout)
    assert (facts["version"], facts["backend"], facts["FST3FS_TIMEOUT"]) == (__version__, "c", 90.0)
    assert "FST3FS_REQUIRE" in cli("info").stdout


def test_info_of_a_path_on_3fs(mount: Mount) -> None:
    facts = json.loads(cli("info", "--json", mount.write("m", random_bytes(10))).stdout)
    assert (facts["transport"], facts["client"], facts["why_not"]) == ("usrbio", "built-in", "")
    assert facts["mount point"] == str(mount.path)


def test_info_of_a_path_elsewhere(scratch: Path) -> None:
    facts = json.loads(cli("info", "--json", str(scratch)).stdout)
    assert facts["transport"] == "posix"
    assert facts["why_not"]
    assert "not on 3FS" in facts["mount point"]


def test_info_of_no_path(scratch: Path) -> None:
    done = cli("info", str(scratch / "missing"))
    assert done.returncode == 1
    assert str(scratch / "missing") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--model", "a", "--mount", "b"]])
def test_wrong_use(arguments: list) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_version() -> None:
    assert cli("--version").stdout == f"{__version__}\n"

# SPDX-License-Identifier: Apache-2.0
"""What the Makefile shows: a line for a step, and everything that it printed when it fails."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest
from support import ROOT

QUIET = ROOT / "hack" / "quiet"
SAYS_MUCH = "echo much; echo more >&2"


def quiet(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if name != "V"}
    command = [str(QUIET), "a step", *arguments]
    return subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=False)


def test_a_step_that_succeeds_is_one_line() -> None:
    done = quiet("sh", "-c", SAYS_MUCH)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"a step \.\.\. ok \(\d+ s\)\n", done.stdout)


def test_a_step_that_fails_shows_everything() -> None:
    done = quiet("sh", "-c", f"{SAYS_MUCH}; exit 3")
    assert (done.returncode, done.stderr) == (3, "much\nmore\n")
    assert done.stdout == "a step ... FAILED (status 3)\n"


def test_everything_on_request() -> None:
    done = quiet("sh", "-c", f"{SAYS_MUCH}; exit 3", V="1")
    assert (done.returncode, done.stderr) == (3, "more\n")
    assert done.stdout.splitlines()[-1] == "much"


def test_no_log_is_left(tmp_path: Path) -> None:
    for command in ("true", "false"):
        quiet(command, TMPDIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def recipe(*targets: str) -> List[str]:
    """What make would do if nothing was there yet, a line of shell each."""
    command = ["make", "-C", str(ROOT), "--no-print-directory", "--dry-run", "--always-make", *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", " ").splitlines()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(
    "target", ["demo", "check", "test", "lint", "bench", "asan", "tsan", "valgrind", "fuzz", "test-fastsafetensors"]
)
def test_what_says_much_is_quiet(target: str) -> None:
    chatty = [line for line in recipe(target) if re.search(r"-m pip |meson (setup|compile|test) ", line)]
    assert chatty
    assert [line for line in chatty if not line.startswith("hack/quiet '")] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_a_demo_on_a_fresh_clone_takes_few_lines() -> None:
    shown = [line for line in recipe("demo") if line.startswith("hack/quiet ")]
    assert len(shown) == 2, "beside Debian packages, which are a line of hack/need"

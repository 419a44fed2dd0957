# SPDX-License-Identifier: Apache-2.0
"""Other Pythons of this machine, and environments of their own for what is to be installed."""

import functools
import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

OLDEST = (3, 9)
Version = Tuple[int, int]
ROOT_IS_FINE = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}


def _found() -> List[str]:
    """Commands that may be Pythons: in PATH, and those that pyenv has made."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    names = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 30)]
    return [sys.executable, *filter(None, names), *glob.glob(f"{pyenv}/versions/*/bin/python3")]


@functools.cache
def interpreters() -> Dict[Version, str]:
    """Pythons that can make environments, from the oldest supported one up."""
    code = "import sys, venv; print(*sys.version_info[:2])"
    pythons: Dict[Version, str] = {}
    for command in _found():
        done = subprocess.run([command, "-I", "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            major, minor = map(int, done.stdout.split())
            pythons.setdefault((major, minor), command)
    return {version: pythons[version] for version in sorted(pythons) if version >= OLDEST}


class Environment:
    """A virtual environment in ``folder``."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        subprocess.run([python, "-I", "-m", "venv", "--without-pip", str(folder)], check=True)
        self.folder = folder
        self.python = str(folder / "bin" / "python")

    def pip(self, *arguments: str) -> None:
        """This environment's pip, working on that one: many times quicker than a pip of its own."""
        pip = [sys.executable, "-I", "-m", "pip", "--python", self.python, "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *arguments], check=True, env=ROOT_IS_FINE)

    def install(self, wheel: Path) -> None:
        self.pip("install", "--no-index", "--no-deps", str(wheel))

    def borrow(self, site: str) -> None:
        """Lets it import what another environment has, behind what it has itself."""
        (path,) = self.folder.glob("lib/python3.*/site-packages")
        (path / "borrowed.pth").write_text(site)

    def run(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [self.python, "-I", *arguments],
            env={**os.environ, **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

# SPDX-License-Identifier: Apache-2.0
"""What pip calls to build the package: meson-python, and with FST3FS_NO_EXT=1 a wheel of Python alone.

Without the extension no compiler is asked for, and the wheel is one for every machine.
"""

import os
import subprocess
import sys
from typing import Any, Dict, List, Optional

import mesonpy
from mesonpy import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Settings = Optional[Dict[str, Any]]

#: The extension asks for no more than the stable ABI of this Python (limited_api in src/python/meson.build).
OLDEST_PYTHON = "cp39"


def _no_extension() -> bool:
    return os.environ.get("FST3FS_NO_EXT", "").lower() in ("1", "true", "yes")


def _with_choice(settings: Settings) -> Settings:
    if not _no_extension():
        return settings
    more = dict(settings or {})
    given = more.get("setup-args", [])
    more["setup-args"] = [*([given] if isinstance(given, str) else given), "-Dpure=true"]
    return more


def _for_older_pythons(directory: str, wheel: str) -> str:
    """meson-python says that a wheel of the stable ABI is for the Python that built it and newer ones."""
    if "-abi3-" not in wheel:
        return wheel
    command = [sys.executable, "-m", "wheel", "tags", "--remove", "--python-tag", OLDEST_PYTHON]
    done = subprocess.run([*command, os.path.join(directory, wheel)], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()[-1]


def get_requires_for_build_wheel(config_settings: Settings = None) -> List[str]:
    return mesonpy.get_requires_for_build_wheel(_with_choice(config_settings))


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    wheel = mesonpy.build_wheel(wheel_directory, _with_choice(config_settings), metadata_directory)
    return _for_older_pythons(wheel_directory, wheel)


def get_requires_for_build_editable(config_settings: Settings = None) -> List[str]:
    return mesonpy.get_requires_for_build_editable(_with_choice(config_settings))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    return mesonpy.build_editable(wheel_directory, _with_choice(config_settings), metadata_directory)

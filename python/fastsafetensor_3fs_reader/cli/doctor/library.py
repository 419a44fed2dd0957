# SPDX-License-Identifier: Apache-2.0
"""The USRBIO client: the one in this package, or the official library."""

import os
from typing import List

from ...backend import get_backend, is_available
from ...hf3fs_lib import candidates, load
from ...settings import resolve
from ...version import __version__
from .. import child
from ..child import Report
from .lines import BAD, OK, WARN, Line

SILENCE_S = 20.0
BUILTIN = "FST3FS_USRBIO=builtin does without it"


def is_wanted() -> bool:
    """Will readers load the official library?"""
    try:
        wish = resolve("usrbio", None)
    except ValueError:
        return False
    return wish == "sdk" or (wish == "auto" and bool(os.environ.get("HF3FS_LIB_DIR")))


def try_to_load(report: Report) -> None:
    """In the child: a broken library may crash or hang while it is loaded."""
    report("load")
    try:
        path, _ = load()
        report("load", path=path)
    except FileNotFoundError as e:
        report("load", error=str(e))


def _backend_line() -> Line:
    said = f"{get_backend()}, version {__version__}"
    if is_available():
        return Line("backend", OK, said)
    return Line(
        "backend",
        BAD,
        f"{said}: it cannot read 3FS",
        "unset FASTSAFETENSORS_BACKEND, or install a wheel with the C module",
    )


def _wanted_line() -> Line:
    outcome = child.run(try_to_load, silence_s=SILENCE_S)
    found = outcome.found.get("load", {})
    if "path" in found:
        return Line("USRBIO client", OK, f"the official library, {found['path']}")
    first = next((c.path for c in candidates() if not c.refused), "it")
    why = found.get("error") or f"{first} does not load: {outcome.why}"
    return Line(
        "USRBIO client",
        BAD,
        f"the official library is asked for, and {why}",
        f"name one that is whole in HF3FS_LIB_DIR; {BUILTIN}",
    )


def _builtin_line() -> Line:
    refused = [f"{path} ({why})" for path, why in candidates() if why]
    if refused:
        said = f"built-in; the official library would be refused: {', '.join(refused)}"
        return Line("USRBIO client", WARN, said, "remove it, unless something else needs it")
    there = [path for path, _ in candidates()]
    return Line("USRBIO client", OK, f"built-in{f'; {there[0]} is there and not asked for' if there else ''}")


def lines() -> List[Line]:
    return [_backend_line(), _wanted_line() if is_wanted() else _builtin_line()]

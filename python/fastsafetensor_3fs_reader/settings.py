# SPDX-License-Identifier: Apache-2.0
"""Settings beyond the four that every caller passes: a keyword of the constructor, or FST3FS_<NAME>."""

import math
import os
from typing import Callable, Dict, NamedTuple, Optional

DEFAULT_BUFFER_SIZE = 64 * 1024 * 1024
#: A read may go this long without any completion: the daemon itself retries storage for 60 s.
DEFAULT_TIMEOUT_S = 90.0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and 0.001 <= seconds <= 4_000_000):
        raise ValueError("seconds, from 0.001 to 4000000")
    return seconds


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError("one of " + ", ".join(repr(a) for a in allowed))
        return text

    return parse


class Setting(NamedTuple):
    parse: Callable[[str], object]
    default: object
    meaning: str


SETTINGS: Dict[str, Setting] = {
    "timeout": Setting(_seconds, DEFAULT_TIMEOUT_S, "seconds a read may go without any completion"),
    "usrbio": Setting(_one_of("auto", "sdk", "builtin"), "auto", "which USRBIO client: auto, sdk or builtin"),
    "trace": Setting(str, "", "a file to write a trace for Perfetto to; %p in it becomes the process's number"),
    "populate": Setting(_one_of("on", "off"), "on", "on: make host memory resident ahead of the bytes, or off"),
    "require": Setting(_one_of("", "usrbio"), "", "usrbio: fail rather than read through the operating system"),
}


def environment_name(name: str) -> str:
    return "FST3FS_" + name.upper()


def resolve(name: str, argument: Optional[object]) -> object:
    """The value in force: the argument, else the environment, else the default. ValueError names the culprit."""
    setting = SETTINGS[name]
    where, value = name, argument
    if value is None:
        where = environment_name(name)
        value = os.environ.get(where)
    if value is None:
        return setting.default
    try:
        return setting.parse(str(value))
    except ValueError as e:
        raise ValueError(f"{where} must be {setting.meaning} ({e}), not {value!r}") from None


def debug_enabled() -> bool:
    """FASTSAFETENSORS_DEBUG asks every reader to print what each read did."""
    return os.environ.get("FASTSAFETENSORS_DEBUG", "").lower() in ("1", "true")

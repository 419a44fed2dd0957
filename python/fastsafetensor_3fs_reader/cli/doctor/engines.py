# SPDX-License-Identifier: Apache-2.0
"""Engines that are installed here, and whether they will use this package. None is imported: they take long."""

import json
import os
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from typing import Callable, Dict, List, Optional

from .lines import BAD, NONE, OK, WARN, Line

OURS = "fastsafetensor_3fs_reader"
DOCS = "docs/integrations.md says how"
#: Where the loader "3fs" of fastsafetensors lives.
LOADER = "threefs_loader.py"
CONFIG = "FASTSAFETENSORS_CONFIG"
#: Engine -> the group of entry points by which it finds plugins.
PLUGINS: Dict[str, str] = {"vllm": "vllm.general_plugins", "sglang": "sglang.srt.plugins"}

#: Where vLLM is told which plugins it may load; all of them when it is not set.
ALLOWED = "VLLM_PLUGINS"


def _installed(name: str) -> Optional[Distribution]:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _configured_loader() -> str:
    """What fastsafetensors' AutoLoader is told to use, "" for nothing. OSError or ValueError for a bad file."""
    path = os.environ.get(CONFIG)
    if not path:
        return ""
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    return str(config.get("loader", "")) if isinstance(config, dict) else ""


def _fastsafetensors(dist: Distribution) -> Line:
    what, version = "fastsafetensors", dist.version
    if not any(file.name == LOADER for file in dist.files or []):
        return Line(what, WARN, f"{version} has nothing for 3FS", "pip install 'fastsafetensors>=0.3.3'")
    try:
        loader = _configured_loader()
    except (OSError, ValueError) as e:
        return Line(what, BAD, f"{version}; {CONFIG}: {e}", f"correct the file; {DOCS}")
    if loader == "3fs":
        return Line(what, OK, f"{version}, and {CONFIG} names the loader 3fs")
    named = f"names the loader {loader!r}" if loader else "is not set"
    return Line(what, WARN, f"{version} can use this package; {CONFIG} {named}", f"name the loader 3fs there; {DOCS}")


def _plugin(group: str) -> str:
    """The name of a plugin that leads here, or ""."""
    for dist in distributions():
        for entry in dist.entry_points:
            if entry.group == group and (OURS in entry.value or "fst3fs" in entry.value):
                return entry.name
    return ""


def _engine(name: str) -> Callable[[Distribution], Line]:
    def judge(dist: Distribution) -> Line:
        plugin = _plugin(PLUGINS[name])
        allowed = os.environ.get(ALLOWED, "") if name == "vllm" else ""
        if not plugin:
            return Line(name, WARN, f"{dist.version}, and no plugin leads it here", DOCS)
        if allowed and plugin not in allowed.split(","):
            said = f"{dist.version}, and {ALLOWED}={allowed} keeps it from loading the plugin {plugin}"
            return Line(name, WARN, said, f"add {plugin} to it")
        return Line(name, OK, f"{dist.version}, by the plugin {plugin}, for --load-format 3fs")

    return judge


JUDGES: Dict[str, Callable[[Distribution], Line]] = {
    "fastsafetensors": _fastsafetensors,
    **{name: _engine(name) for name in PLUGINS},
}


def lines() -> List[Line]:
    found = []
    for name, judge in JUDGES.items():
        dist = _installed(name)
        if dist is not None:
            found.append(judge(dist))
    return found or [Line("engines", NONE, f"none of {', '.join(JUDGES)} is installed")]

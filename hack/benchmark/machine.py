# SPDX-License-Identifier: Apache-2.0
"""What numbers depend on besides the code: the machine and the versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Dict

PACKAGES = ("fastsafetensor-3fs-reader", "safetensors", "fastsafetensors", "torch", "hf3fs_py_usrbio")


def _field(path: str, name: str) -> str:
    """Of a file of "name: value" lines in /proc."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return "; ".join([*found, f"Python {platform.python_version()}"])


def facts() -> Dict[str, object]:
    """Columns of every row."""
    cpu = _field("/proc/cpuinfo", "model name") or _field("/proc/cpuinfo", "CPU part") or platform.machine()
    memory_kb = int(_field("/proc/meminfo", "MemTotal").split()[0])
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": f"{memory_kb / (1 << 20):.0f}",
        "kernel": platform.release(),
        "load_before": f"{os.getloadavg()[0]:.2f}",
        "versions": _versions(),
    }


def describe(facts: Dict[str, object]) -> str:
    """In one line."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']},"
        f" load {facts['load_before']}; {facts['versions']}"
    )

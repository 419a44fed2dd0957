# SPDX-License-Identifier: Apache-2.0
"""What the engines' published wheels, made for GPUs, lack on a machine without one. Run by the Python of an
environment it installs itself there, for every process of that environment."""

import shutil
import sys
import sysconfig
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, Callable


class _Before(MetaPathFinder):
    """Calls ``prepare`` before ``module`` is imported: only who imports it pays for that."""

    def __init__(self, module: str, prepare: Callable[[], None]) -> None:
        self._module, self._prepare = module, prepare

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == self._module:
            sys.meta_path.remove(self)
            self._prepare()


def _torchvision() -> None:
    """torchvision from PyPI cannot load its operators beside a torch without CUDA, and then fails to describe them."""
    import torch  # noqa: PLC0415

    if torch.version.cuda is None:
        for operator in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", schema)


def _vllm_worker() -> None:
    """vLLM's worker for CPUs binds its memory to a NUMA node with an operator that is in no wheel for GPUs."""
    import torch  # noqa: PLC0415

    torch.library.define("_C::init_cpu_memory_env", "(int[] nodes) -> ()")
    torch.library.impl("_C::init_cpu_memory_env", "CompositeExplicitAutograd", lambda nodes: None)


def vllm_platform() -> str:
    """vLLM's own CPU platform, which its wheels for CUDA have but do not choose."""
    return "vllm.platforms.cpu.CpuPlatform"


def install() -> None:
    packages, name = Path(sysconfig.get_path("purelib")), "engines_cpu_only"
    shutil.copy(__file__, packages / f"{name}.py")
    (packages / f"{name}.pth").write_text(f"import {name}\n")
    about = packages / f"{name}-1.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[vllm.platform_plugins]\ncpu_only = {name}:vllm_platform\n")


if __name__ == "__main__":
    install()
else:
    sys.meta_path.insert(0, _Before("torchvision", _torchvision))
    sys.meta_path.insert(0, _Before("vllm.v1.worker.cpu_worker", _vllm_worker))

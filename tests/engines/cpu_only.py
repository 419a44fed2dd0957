# SPDX-License-Identifier: Apache-2.0
"""What the engines' published wheels, made for GPUs, lack on a machine without one. Run by the Python of an
environment it installs itself there, for every process of that environment."""

import shutil
import sys
import sysconfig
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class _BeforeTorchvision(MetaPathFinder):
    """torchvision from PyPI cannot load its operators beside a torch without CUDA, and then fails to describe them."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch  # noqa: PLC0415 - only who imports torchvision pays for it

            if torch.version.cuda is None:
                for operator in ("nms", "qnms"):
                    schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                    torch.library.define(f"torchvision::{operator}", schema)


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
    sys.meta_path.insert(0, _BeforeTorchvision())

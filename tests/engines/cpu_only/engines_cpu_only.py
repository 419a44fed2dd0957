# SPDX-License-Identifier: Apache-2.0
"""What the engines' published wheels, made for GPUs, lack on a machine without one."""

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class _BeforeTorchvision(MetaPathFinder):
    """torchvision from PyPI cannot load its operators beside a torch without CUDA, and then fails to describe them."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch  # noqa: PLC0415 - only those who import torchvision pay for it

            for operator in ("nms", "qnms"):
                torch.library.define(
                    f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )


def vllm_platform() -> str:
    """vLLM's own CPU platform, which its wheels for CUDA have but do not choose."""
    return "vllm.platforms.cpu.CpuPlatform"


sys.meta_path.insert(0, _BeforeTorchvision())

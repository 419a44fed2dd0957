# SPDX-License-Identifier: Apache-2.0
"""What the cases of all engines have in common."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, Dict, List

import torch

from fastsafetensor_3fs_reader.engines import weights

_opened: List[Any] = []


def watch() -> None:
    """From now on ``infos`` knows what our loaders open."""
    real = weights.safe_open

    def safe_open(*args: Any, **kwargs: Any) -> Any:
        _opened.append(real(*args, **kwargs))
        return _opened[-1]

    weights.safe_open = safe_open


def infos() -> List[Dict[str, Any]]:
    keys = ("transport", "client", "bytes_wanted", "bytes_requested", "bytes_skipped", "bytes_posix", "ranks")
    return [{key: value for key, value in opened.info().items() if key in keys} for opened in _opened]


def digests(model: torch.nn.Module) -> Dict[str, str]:
    """Of the bytes of every parameter and buffer."""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: digest(tensor) for name, tensor in state.items()}


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().flatten().view(torch.uint8).numpy()).hexdigest()


def dtype_of(model: str) -> str:
    """As a checkpoint says: engines would rather have a smaller one."""
    return str(json.loads((Path(model) / "config.json").read_text())["torch_dtype"])


def show_logs() -> None:
    """As engines do in their processes."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", force=True)

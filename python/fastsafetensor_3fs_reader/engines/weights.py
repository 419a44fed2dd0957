# SPDX-License-Identifier: Apache-2.0
"""The tensors of a model's files as an engine's loader wants them, and one log line at the end."""

import logging
import os
import re
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.distributed as dist

from ..torch import TorchSafeOpen, safe_open
from .options import LOAD_FORMAT, Options

#: A tensor's name -> whether this rank wants it.
Wanted = Callable[[str], bool]


class Request(NamedTuple):
    """What an engine asks for.

    files     safetensors files, in any order
    device    where the tensors are made
    consumer  the engine's name, for the log
    logger    the engine shows what it logs
    group     of torch.distributed, in which every rank asks for the same; None = this rank reads alone
    wanted    None = every tensor
    progress  a bar
    """

    files: Sequence[str]
    options: Options
    device: torch.device
    consumer: str
    logger: logging.Logger
    group: Optional[Any] = None
    wanted: Optional[Wanted] = None
    progress: bool = False


def loading_device(wish: Optional[str] = None) -> torch.device:
    """The GPU of this process, where it uses one that we can copy to: what an engine loads it would copy there anyway.
    ``wish``: what the engine was told to load to."""
    if wish is not None and torch.device(wish).type == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_initialized() and torch.version.cuda:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def sharing_group(options: Options, coordinator: Any, device: torch.device, alone: str = "") -> Optional[Any]:
    """The process group, of an engine's coordinator of ranks, in which the reading is shared; None = this rank reads
    alone. ``alone`` says why it has to; ValueError if it was told not to."""
    if options.distributed == "off" or coordinator is None or coordinator.world_size == 1:
        return None
    group = coordinator.cpu_group if device.type == "cpu" else coordinator.device_group
    backend = dist.get_backend(group)
    if backend not in ("gloo", "nccl"):  # such as those for ranks that come and go: nobody is to wait for them
        alone = alone or f"the ranks' backend is {backend}"
    if alone and options.distributed == "on":
        raise ValueError(f"distributed='on' for load format {LOAD_FORMAT!r}, but {alone}")
    return None if alone else group


def shows_progress() -> bool:
    """On one rank of all is a bar enough."""
    return not dist.is_initialized() or dist.get_rank() == 0


def read(request: Request) -> Iterator[Tuple[str, torch.Tensor]]:
    """Every wanted tensor as (name, tensor); the tensors own their memory. What goes wrong names the file."""
    summary = _Summary()
    for opened in _opened(request):
        with opened:
            for tensor in opened.tensors():
                given = time.monotonic()
                yield tensor
                summary.engine_s += time.monotonic() - given
                del tensor  # gone before the next one is waited for
            summary.add(opened.info())
    summary.log(request)


def _opened(request: Request) -> Iterator[TorchSafeOpen]:
    """All files together; or each by itself where a tensor is in several of them, as engines read them: the last one
    counts."""
    files = sorted(request.files, key=_natural)
    try:
        together = _open(request, files)
    except ValueError as e:
        if len(files) == 1:
            raise
        for file in files:  # one that is broken by itself says so now
            _open(request, [file]).close()
        request.logger.warning("%s: reading file by file", e)
    else:
        yield together
        return
    for file in files:
        yield _open(request, [file])


def _natural(path: str) -> List[Tuple[int, str]]:
    """Sorts shard 10 behind shard 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path)]


def _open(request: Request, files: List[str]) -> TorchSafeOpen:
    options = request.options
    return safe_open(
        files,
        device=request.device,
        process_group=request.group,
        tensor_filter=request.wanted,
        progress=request.progress,
        buffer_size=options.buffer_size,
        timeout=options.timeout,
        require=options.require,
    )


class _Summary:
    """What a load was like, in one line."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        #: Seconds in which the engine had a tensor, and had not asked for the next.
        self.engine_s = 0.0
        self._bytes: Dict[str, int] = dict.fromkeys(("bytes_wanted", "bytes_requested", "bytes_skipped"), 0)
        self._info: Dict[str, Any] = {}

    def add(self, info: Dict[str, Any]) -> None:
        self._info = info
        for key in self._bytes:
            self._bytes[key] += info[key]

    def log(self, request: Request) -> None:
        seconds = time.monotonic() - self._start
        request.logger.info("%s", self.text(request, seconds))

    def text(self, request: Request, seconds: float) -> str:
        wanted, requested, skipped = (value / 1e9 for value in self._bytes.values())
        info = self._info
        client = f" ({info['client']})" if info["client"] else ""
        parts = [
            f"{LOAD_FORMAT}: {wanted:.2f} GB from {os.path.dirname(request.files[0])} in {seconds:.2f} s,"
            f" {wanted / seconds:.2f} GB/s, transport={info['transport']}{client}",
            f"{seconds - self.engine_s:.2f} s waiting for the link, {self.engine_s:.2f} s for {request.consumer}",
            f"{skipped:.2f} GB skipped",
        ]
        if "ranks" in info:
            parts.append(f"rank {info['rank']} of {info['ranks']} read {requested:.2f} GB of them")
        return "; ".join(parts)

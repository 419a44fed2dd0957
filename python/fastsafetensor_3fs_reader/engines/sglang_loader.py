# SPDX-License-Identifier: Apache-2.0
"""SGLang's default loader for load format 3fs: as for safetensors in everything but the reading."""

import functools
import inspect
import logging
from typing import Any, Callable, Iterator, Tuple

import torch
from sglang.srt.distributed import get_tp_group, model_parallel_is_initialized
from sglang.srt.model_loader.loader import fastsafetensors_weights_iterator

from . import weights
from .fitting import with_globals
from .options import Options

_logger = logging.getLogger(__package__)
_Weights = Iterator[Tuple[str, torch.Tensor]]


def get_weights_iterator(original: Callable[..., _Weights], loader: Any, source: Any, **kwargs: Any) -> _Weights:
    """Around the default loader's method of this name: it chooses files as ever, and then reads them with us if its
    configuration is one of ours."""
    options = getattr(loader.load_config.model_loader_extra_config, "options", None)
    if options is None:
        return original(loader, source, **kwargs)
    read = functools.partial(_read, loader.load_config, options, source)
    choose = with_globals(inspect.unwrap(original), fastsafetensors_weights_iterator=read)
    return choose(loader, source, **kwargs)  # type: ignore[no-any-return]


def _read(load_config: Any, options: Options, source: Any, *args: Any, **kwargs: Any) -> _Weights:
    """What the default loader calls for the files that it has chosen."""
    call = inspect.signature(fastsafetensors_weights_iterator).bind(*args, **kwargs).arguments
    device = weights.loading_device()
    return weights.read(
        weights.Request(
            call["hf_weights_files"],
            options,
            device,
            "SGLang",
            _logger,
            group=_group(load_config, options, source.model_config, device),
            progress=weights.shows_progress(),
        )
    )


def _group(load_config: Any, options: Options, model_config: Any, device: torch.device) -> Any:
    """The ranks of this pipeline stage, or those that SGLang names. A drafter is read by each rank alone, and so is
    what SGLang says nothing about."""
    if model_config is None or model_config.is_draft_model or load_config.draft_model_idx is not None:
        return None
    coordinator = getattr(load_config, "load_group", ...)
    if not hasattr(coordinator, "device_group"):
        coordinator = get_tp_group() if coordinator is not None and model_parallel_is_initialized() else None
    return weights.sharing_group(options, coordinator, device)

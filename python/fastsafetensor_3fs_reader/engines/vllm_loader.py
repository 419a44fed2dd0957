# SPDX-License-Identifier: Apache-2.0
"""vLLM's loader for load format 3fs: its own one for safetensors in everything but the reading. Which files, which of
their tensors, and what becomes of them, is decided by its code."""

import copy
import inspect
import logging
from typing import Any, Iterator, List, Tuple

import torch
from vllm.config.vllm import get_current_vllm_config_or_none
from vllm.distributed import get_tp_group
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader, safetensors_weights_iterator
from vllm.model_executor.model_loader.ep_weight_filter import should_skip_weight

from . import weights
from .fitting import with_globals
from .options import LOAD_FORMAT, take_options

#: Below vLLM's own logger, which shows what it is told at level INFO.
_logger = logging.getLogger(f"vllm.{__package__}")
_Weights = Iterator[Tuple[str, torch.Tensor]]


class ThreeFSModelLoader(DefaultModelLoader):  # type: ignore[misc]
    def __init__(self, load_config: Any) -> None:
        self._options, rest = take_options(load_config.model_loader_extra_config, ("enable_weights_track",))
        # The default loader knows neither our format nor our options.
        its_config = copy.copy(load_config)
        its_config.load_format, its_config.model_loader_extra_config = "auto", rest
        super().__init__(its_config)
        self._is_draft = False

    def get_all_weights(self, model_config: Any, model: Any) -> _Weights:
        self._is_draft = model_config.runner_type == "draft"
        return super().get_all_weights(model_config, model)  # type: ignore[no-any-return]

    def _get_weights_iterator(self, source: Any) -> _Weights:
        calls: List[Any] = []

        def read(*args: Any, **kwargs: Any) -> _Weights:
            calls.append(source)
            return self._read(*args, **kwargs)

        choose = with_globals(DefaultModelLoader._get_weights_iterator, safetensors_weights_iterator=read)
        iterator: _Weights = choose(self, source)
        if not calls:
            self._not_ours(f"{source.model_or_path} has no safetensors files")
        return iterator

    def _read(self, *args: Any, **kwargs: Any) -> _Weights:
        """What the default loader calls for safetensors."""
        call = inspect.signature(safetensors_weights_iterator).bind(*args, **kwargs).arguments
        strategy, experts = call.get("safetensors_load_strategy"), call.get("local_expert_ids")
        if strategy == "torchao":
            self._not_ours("torchao's tensors are put together by vLLM")
            return safetensors_weights_iterator(*args, **kwargs)  # type: ignore[no-any-return]
        if strategy in ("eager", "prefetch"):
            _logger.warning("safetensors_load_strategy=%s means nothing to load format %s", strategy, LOAD_FORMAT)
        device = self._device()
        return weights.read(
            weights.Request(
                call["hf_weights_files"],
                self._options,
                device,
                "vLLM",
                _logger,
                group=self._group(device, experts),
                wanted=None if experts is None else lambda name: not should_skip_weight(name, experts),
                progress=call["use_tqdm_on_load"] and weights.shows_progress(),
            )
        )

    def _device(self) -> torch.device:
        """Where vLLM wants it; but host memory if tables are to stay there, each of which may be larger than a GPU."""
        engram = getattr(get_current_vllm_config_or_none(), "engram_config", None)
        return weights.loading_device("cpu" if getattr(engram, "cpu_offload", False) else self.load_config.device)

    def _group(self, device: torch.device, experts: Any) -> Any:
        """The ranks of this pipeline stage. A drafter is read by each alone: it may be less parallel than the stage."""
        if self._is_draft:
            return None
        alone = "" if experts is None else "ranks with experts of their own want different tensors"
        return weights.sharing_group(self._options, get_tp_group(), device, alone)

    def _not_ours(self, why: str) -> None:
        text = f"load format {LOAD_FORMAT}: {why}: this is read by vLLM itself, not through USRBIO"
        if self._options.requires_usrbio:
            raise RuntimeError(text)
        _logger.warning("%s", text)

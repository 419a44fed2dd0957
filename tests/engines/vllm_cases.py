# SPDX-License-Identifier: Apache-2.0
"""vLLM's side of the tests, run by its own Python."""

import logging
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

sys.path.insert(0, str(Path(__file__).parent))
from forked import serve  # noqa: I001 - it takes stdout away from those below

import torch
from loading import digest, digests, dtype_of, infos, show_logs, watch
from vllm.config import DeviceConfig, ModelConfig, ParallelConfig, VllmConfig, set_current_vllm_config
from vllm.config.load import LoadConfig
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
from vllm.model_executor.model_loader import default_loader, get_model_loader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models import ModelRegistry
from vllm.plugins import load_general_plugins
from vllm.utils.torch_utils import set_default_torch_dtype

Extra = Dict[str, Any]

# Imported here, once, for all cases: vLLM would start a process to look at each of them.
for architecture in ("LlamaForCausalLM", "Qwen3MoeForCausalLM"):
    ModelRegistry.register_model(architecture, ModelRegistry.models[architecture].load_model_cls())


def load_config(load_format: str, extra: Extra) -> LoadConfig:
    return LoadConfig(load_format=load_format, model_loader_extra_config=extra)


def _plugins() -> None:
    """As in each process of vLLM, whose logger is the one that is shown."""
    show_logs()
    logger = logging.getLogger("vllm")
    logger.handlers.clear()  # some versions set theirs when they are imported, and each line is to be there once
    logger.propagate = True
    load_general_plugins()
    watch()


@contextmanager
def _engine(model: str, load: LoadConfig, rank: int, ranks: int, store: str, **parallel: Any) -> Iterator[VllmConfig]:
    """A worker of vLLM on a CPU, as far as loading goes; its ranks share each tensor."""
    _plugins()
    model_config = ModelConfig(
        model=model, tokenizer=model, skip_tokenizer_init=True, dtype=dtype_of(model), enforce_eager=True
    )
    parallel_config = ParallelConfig(tensor_parallel_size=ranks, **parallel)
    config = VllmConfig(
        model_config=model_config,
        parallel_config=parallel_config,
        device_config=DeviceConfig(device="cpu"),
        load_config=load,
    )
    with set_current_vllm_config(config):
        init_distributed_environment(ranks, rank, f"file://{store}", rank, backend="gloo")
        ensure_model_parallel_initialized(ranks, 1)
        yield config


def _fill(config: VllmConfig) -> Tuple[Any, torch.nn.Module]:
    """A model class of vLLM's, filled by the loader that vLLM gives."""
    with set_default_torch_dtype(config.model_config.dtype):
        model = initialize_model(vllm_config=config, model_config=config.model_config)
    loader = get_model_loader(config.load_config)
    loader.load_weights(model, config.model_config)
    return loader, model


def load(rank: int, ranks: int, model: str, load_format: str, extra: Extra, store: str, **settings: Any) -> Any:
    with _engine(model, load_config(load_format, extra), rank, ranks, store, **settings) as config:
        loader, filled = _fill(config)
        return {"loader": type(loader).__name__, "infos": infos(), "digests": digests(filled)}


class Collector(torch.nn.Module):
    """A model that takes whatever it is given."""

    def __init__(self, wishes: Dict[str, Any]) -> None:
        super().__init__()
        self.secondary_weights = [DefaultModelLoader.Source(**source) for source in wishes.get("secondary", ())]
        if "unused" in wishes:
            self.is_unused_checkpoint_weight = lambda name: name.startswith(wishes["unused"])
        self.taken: Dict[str, torch.Tensor] = {}

    def load_weights(self, weights: Iterator[Tuple[str, torch.Tensor]]) -> None:
        self.taken.update(weights)


def collect(
    rank: int, ranks: int, model: str, load_format: str, extra: Extra, store: str, wishes: Dict[str, Any]
) -> Any:
    """What a loader gives, and in which order: of ``wishes`` that models and the command line may have of it."""
    with _engine(model, load_config(load_format, extra), rank, ranks, store) as config:
        if wishes.get("draft"):
            config.model_config.runner_type = "draft"
        loader = get_model_loader(config.load_config)
        collector = Collector(wishes)
        if "encoder_only" in wishes:
            loader._encoder_only_lm_prefixes = tuple(wishes["encoder_only"])
            collector.load_weights(loader.get_all_weights(config.model_config, collector))
        else:
            loader.load_weights(collector, config.model_config)
        return {"infos": infos(), "digests": {name: digest(tensor) for name, tensor in collector.taken.items()}}


def find(rank: int, ranks: int, extra: Extra) -> List[str]:
    """What vLLM gives for the flag before it has loaded its plugins, and after."""
    found = []
    for prepare in (lambda: None, _plugins):
        prepare()
        try:
            found.append(type(get_model_loader(load_config("3FS", extra))).__name__)
        except ValueError as e:
            found.append(str(e))
    return found


def unfit(rank: int, ranks: int, missing: str) -> List[str]:
    """Without a function that we need: the others go on."""
    delattr(default_loader, missing)
    _plugins()
    return [type(get_model_loader(load_config(load_format, {}))).__name__ for load_format in ("auto", "dummy")]


serve({"load": load, "collect": collect, "find": find, "unfit": unfit})

# SPDX-License-Identifier: Apache-2.0
"""vLLM's side of the tests, run by its own Python."""

import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Tuple

import torch
from loading import digest, digests, dtype_of, infos, show_logs, watch
from safetensors.torch import load_file
from vllm.config import DeviceConfig, ModelConfig, ParallelConfig, VllmConfig, set_current_vllm_config
from vllm.config.load import LoadConfig
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
from vllm.model_executor.model_loader import default_loader, get_model_loader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models import ModelRegistry
from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins
from vllm.utils.torch_utils import set_default_torch_dtype

Extra = Dict[str, Any]

# Imported here, once, for all cases: vLLM would start a process to look at each of them.
for architecture in ("LlamaForCausalLM", "Qwen3MoeForCausalLM"):
    ModelRegistry.register_model(architecture, ModelRegistry.models[architecture].load_model_cls())


def load_config(load_format: str, extra: Extra, **settings: Any) -> LoadConfig:
    return LoadConfig(load_format=load_format, model_loader_extra_config=extra, **settings)


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


def load(
    rank: int,
    ranks: int,
    model: str,
    load_format: str,
    extra: Extra,
    store: str,
    loading: Dict[str, Any] = {},  # noqa: B006
    again: bool = False,
    **parallel: Any,
) -> Any:
    """``loading``: more settings of that name; ``again``: the weights of a model that has been serving."""
    with _engine(model, load_config(load_format, extra, **loading), rank, ranks, store, **parallel) as config:
        loader, filled = _fill(config)
        if again:
            torch.nn.init.zeros_(next(filled.parameters()))
            loader.load_weights(filled, config.model_config)
        return {"loader": type(loader).__name__, "infos": infos(), "digests": digests(filled)}


def load_fastsafetensors(rank: int, ranks: int, model: str, store: str, budget: int) -> Any:
    """vLLM's load format of this name with this package's copier, the budget that vLLM is to pass, and the device that
    this machine has."""
    from fastsafetensors import allocation, parallel_loader  # noqa: PLC0415 - of 0.5.0
    from fastsafetensors.threefs_loader import ParallelThreeFSLoader  # noqa: PLC0415

    from fastsafetensor_3fs_reader.fastsafetensors import register  # noqa: PLC0415

    peaks = []

    class Loader(ParallelThreeFSLoader):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**{**kwargs, "device": "cpu", "device_memory_budget": budget})

        def iterate_weights(self) -> Iterator[Tuple[str, torch.Tensor]]:
            given = 0
            for name, tensor in super().iterate_weights():
                given += tensor.nbytes
                peaks.append(allocation.live_allocation_bytes() + given)
                yield name, tensor

    register()
    parallel_loader.ParallelLoader = Loader
    type(current_platform).current_device = lambda platform: 0
    with _engine(model, load_config("fastsafetensors", {}), rank, ranks, store) as config:
        _, filled = _fill(config)
        return {"peak": max(peaks), "digests": digests(filled)}


class Collector(torch.nn.Module):
    """A model that takes whatever it is given."""

    def __init__(self, wishes: Dict[str, Any]) -> None:
        super().__init__()
        self.secondary_weights = [DefaultModelLoader.Source(**source) for source in wishes.get("secondary", ())]
        self._language_model_names = wishes.get("language_model", [])
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
        if "language_model" in wishes:
            config.model_config.multimodal_config = SimpleNamespace(mm_encoder_only=True)
        if wishes.get("tables_in_host_memory") is not None:
            config.engram_config = SimpleNamespace(cpu_offload=wishes["tables_in_host_memory"])
            _pretend_to_use_a_gpu()
        loader = get_model_loader(config.load_config)
        collector = Collector(wishes)
        loader.load_weights(collector, config.model_config)
        return {"infos": infos(), "digests": {name: digest(tensor) for name, tensor in collector.taken.items()}}


def _pretend_to_use_a_gpu() -> None:
    """As far as it takes to choose one."""
    torch.version.cuda = "13.0"
    torch.cuda.is_initialized = lambda: True
    torch.cuda.current_device = lambda: 0


def pickle(rank: int, ranks: int, model: str, to: str) -> None:
    """The same model, in PyTorch's own files alone."""
    shutil.copytree(model, to, ignore=shutil.ignore_patterns("*.safetensors*"))
    tensors = {name: tensor for shard in Path(model).glob("*.safetensors") for name, tensor in load_file(shard).items()}
    torch.save(tensors, Path(to) / "pytorch_model.bin")


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


CASES = {case.__name__: case for case in (load, load_fastsafetensors, collect, pickle, find, unfit)}
END = os._exit  # gloo's own end would wait for ranks that are gone

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
from loading import digests, infos, show_logs, watch
from vllm.config import DeviceConfig, ModelConfig, ParallelConfig, VllmConfig, set_current_vllm_config
from vllm.config.load import LoadConfig
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.plugins import load_general_plugins
from vllm.utils.torch_utils import set_default_torch_dtype

Extra = Dict[str, Any]


def load_config(load_format: str, extra: Extra, **kwargs: Any) -> LoadConfig:
    return LoadConfig(load_format=load_format, model_loader_extra_config=extra, **kwargs)


def _plugins() -> None:
    """As in each process of vLLM, whose logger is the one that is shown."""
    show_logs()
    logging.getLogger("vllm").propagate = True
    load_general_plugins()
    watch()


@contextmanager
def _engine(model: str, load: LoadConfig, rank: int, ranks: int, store: str, **parallel: Any) -> Iterator[VllmConfig]:
    """A worker of vLLM on a CPU, as far as loading goes."""
    _plugins()
    model_config = ModelConfig(model=model, tokenizer=model, skip_tokenizer_init=True, dtype="float32", enforce_eager=True)
    parallel_config = ParallelConfig(**parallel)
    config = VllmConfig(
        model_config=model_config,
        parallel_config=parallel_config,
        device_config=DeviceConfig(device="cpu"),
        load_config=load,
    )
    with set_current_vllm_config(config):
        init_distributed_environment(ranks, rank, f"file://{store}", rank, backend="gloo")
        ensure_model_parallel_initialized(parallel_config.tensor_parallel_size, 1)
        yield config


def _fill(config: VllmConfig) -> Tuple[DefaultModelLoader, torch.nn.Module]:
    """A model class of vLLM's, filled by the loader that vLLM gives."""
    with set_default_torch_dtype(torch.float32):
        model = initialize_model(vllm_config=config, model_config=config.model_config)
    loader = get_model_loader(config.load_config)
    loader.load_weights(model, config.model_config)
    return loader, model


def load(model: str, load_format: str, extra: Extra, store: str, rank: int, ranks: int, **parallel: Any) -> Any:
    with _engine(model, load_config(load_format, extra), rank, ranks, store, **parallel) as config:
        loader, filled = _fill(config)
        return {"loader": type(loader).__name__, "infos": infos(), "digests": digests(filled)}


serve({"load": load})

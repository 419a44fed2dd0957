# SPDX-License-Identifier: Apache-2.0
"""SGLang's side of the tests, run by its own Python."""

import copy
import os
from typing import Any, Dict, List

import torch
from loading import digest, digests, dtype_of, infos, show_logs, watch
from sglang.srt.configs.device_config import DeviceConfig
from sglang.srt.configs.load_config import LoadConfig
from sglang.srt.configs.model_config import ModelConfig
from sglang.srt.distributed.parallel_state import init_distributed_environment, initialize_model_parallel
from sglang.srt.layers.dp_attention import initialize_dp_attention
from sglang.srt.layers.moe import initialize_moe_config
from sglang.srt.model_loader import loader as loader_module
from sglang.srt.model_loader.loader import DefaultModelLoader, get_model_loader
from sglang.srt.models import registry  # noqa: F401 - imports every model of SGLang's, here, once for all cases
from sglang.srt.plugins import load_plugins
from sglang.srt.server_args import ServerArgs, prepare_server_args

try:
    from sglang.srt.runtime_context import SpawnRanks, publish
except ImportError:  # 0.5.12
    from sglang.srt.server_args import set_global_server_args_for_scheduler

    publish = None

Extra = Dict[str, Any]


def _plugins() -> None:
    """As in each process of SGLang."""
    show_logs()
    load_plugins()
    watch()


def _engine(model: str, rank: int, ranks: int, store: str) -> ModelConfig:
    """A scheduler of SGLang on a CPU, as far as loading goes."""
    _plugins()
    dtype = dtype_of(model)
    arguments = ServerArgs(model_path=model, device="cpu", skip_tokenizer_init=True, dtype=dtype, tp_size=ranks)
    model_config = ModelConfig(model_path=model, dtype=dtype)
    if publish is None:
        set_global_server_args_for_scheduler(arguments)
        initialize_moe_config(arguments)
    else:
        publish(arguments, role="scheduler", ranks=SpawnRanks(world_rank=rank, gpu_id=rank))
        initialize_moe_config()
    init_distributed_environment(ranks, rank, f"file://{store}", rank, backend="gloo")
    if publish is None:
        initialize_model_parallel(tensor_model_parallel_size=ranks)
        initialize_dp_attention(server_args=arguments, model_config=model_config)
    else:
        initialize_model_parallel()
        initialize_dp_attention(arguments)
    return model_config


def load(rank: int, ranks: int, model: str, load_format: str, extra: Extra, store: str) -> Any:
    """A model class of SGLang's, made and filled by the loader that SGLang gives."""
    model_config = _engine(model, rank, ranks, store)
    load_config = LoadConfig(load_format=load_format, model_loader_extra_config=extra)
    loader = get_model_loader(load_config, model_config)
    filled = loader.load_model(model_config=model_config, device_config=DeviceConfig("cpu", rank))
    return {"loader": type(loader).__name__, "infos": infos(), "digests": digests(filled)}


class Collector(torch.nn.Module):
    """A model that has more sources of weights than one."""

    def __init__(self, wishes: Dict[str, Any]) -> None:
        super().__init__()
        self.secondary_weights = [DefaultModelLoader.Source(**source) for source in wishes.get("secondary", ())]


def collect(
    rank: int, ranks: int, model: str, load_format: str, extra: Extra, store: str, wishes: Dict[str, Any]
) -> Any:
    """What a loader gives, of ``wishes`` that models and SGLang itself may have of it."""
    model_config = _engine(model, rank, ranks, store)
    model_config.is_draft_model = wishes.get("draft", False)
    load_config = LoadConfig(load_format=load_format, model_loader_extra_config=extra)
    if wishes.get("alone"):
        load_config.load_group = None
    loader = get_model_loader(copy.copy(load_config), model_config)
    taken = dict(loader._get_all_weights(model_config, Collector(wishes)))
    return {"infos": infos(), "digests": {name: digest(tensor) for name, tensor in taken.items()}}


def find(rank: int, ranks: int, extra: Extra) -> List[str]:
    """What SGLang gives for the flag before it has loaded its plugins, and after."""
    found = []
    for prepare in (lambda: None, _plugins):
        prepare()
        try:
            found.append(
                type(get_model_loader(LoadConfig(load_format="3FS", model_loader_extra_config=extra))).__name__
            )
        except ValueError as e:
            found.append(str(e))
    return found


def unfit(rank: int, ranks: int, missing: str) -> List[str]:
    """Without a function that we need: the others go on, and who asks for us is told."""
    delattr(loader_module, missing)
    _plugins()
    found = []
    for load_format in ("auto", "3fs"):
        try:
            found.append(type(get_model_loader(LoadConfig(load_format=load_format))).__name__)
        except RuntimeError as e:
            found.append(str(e))
    return found


def command_line(rank: int, ranks: int, model: str, plugins: bool) -> str:
    """What SGLang's own command line makes of the flag."""
    if plugins:
        _plugins()
    return prepare_server_args(["--model-path", model, "--load-format", "3fs", "--device", "cpu"]).load_format


CASES = {case.__name__: case for case in (load, collect, find, unfit, command_line)}
END = os._exit  # gloo's own end would wait for ranks that are gone

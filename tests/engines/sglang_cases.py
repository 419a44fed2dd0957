# SPDX-License-Identifier: Apache-2.0
"""SGLang's side of the tests, run by its own Python."""

import sys
from pathlib import Path
from typing import Any, Dict

sys.path.insert(0, str(Path(__file__).parent))
from forked import serve  # noqa: I001 - it takes stdout away from those below

import torch
from loading import digests, infos, show_logs, watch
from sglang.srt.configs.device_config import DeviceConfig
from sglang.srt.configs.load_config import LoadConfig
from sglang.srt.configs.model_config import ModelConfig
from sglang.srt.distributed.parallel_state import init_distributed_environment, initialize_model_parallel
from sglang.srt.layers.dp_attention import initialize_dp_attention
from sglang.srt.layers.moe import initialize_moe_config
from sglang.srt.model_loader import loader as loaders
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
    arguments = ServerArgs(model_path=model, device="cpu", skip_tokenizer_init=True, dtype="float32", tp_size=ranks)
    model_config = ModelConfig(model_path=model, dtype="float32")
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


def load(model: str, load_format: str, extra: Extra, store: str, rank: int, ranks: int) -> Any:
    """A model class of SGLang's, made and filled by the loader that SGLang gives."""
    model_config = _engine(model, rank, ranks, store)
    loader = loaders.get_model_loader(LoadConfig(load_format=load_format, model_loader_extra_config=extra), model_config)
    filled = loader.load_model(model_config=model_config, device_config=DeviceConfig("cpu", rank))
    return {"loader": type(loader).__name__, "infos": infos(), "digests": digests(filled)}


def command_line(model: str, plugins: bool, rank: int, ranks: int) -> str:
    """What SGLang's own command line makes of the flag."""
    if plugins:
        _plugins()
    return prepare_server_args(["--model-path", model, "--load-format", "3fs", "--device", "cpu"]).load_format


serve({"load": load, "command_line": command_line})

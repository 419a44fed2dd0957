# SPDX-License-Identifier: Apache-2.0
"""vLLM: ``vllm serve MODEL --load-format 3fs``."""

from .fitting import guarded, needs_function, when_imported
from .options import LOAD_FORMAT

_LOADERS = "vllm.model_executor.model_loader"


def register() -> None:
    """The entry point in group ``vllm.general_plugins``: vLLM calls it in each of its processes."""
    guarded("vllm", lambda: when_imported(_LOADERS, lambda: guarded("vllm", _register)))


def _register() -> None:
    from vllm.model_executor.model_loader import default_loader, register_model_loader  # noqa: PLC0415

    loader = default_loader.DefaultModelLoader
    needs_function(loader, "get_all_weights", ("model_config", "model"))
    needs_function(loader, "_get_weights_iterator", ("source",), uses=("safetensors_weights_iterator",))
    parameters = ("hf_weights_files", "use_tqdm_on_load", "safetensors_load_strategy", "local_expert_ids")
    needs_function(default_loader, "safetensors_weights_iterator", parameters)

    from .vllm_loader import ThreeFSModelLoader  # noqa: PLC0415 - it imports what was looked at just now

    register_model_loader(LOAD_FORMAT)(ThreeFSModelLoader)

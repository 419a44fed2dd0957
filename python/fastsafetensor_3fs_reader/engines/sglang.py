# SPDX-License-Identifier: Apache-2.0
"""SGLang: ``python -m sglang.launch_server --model-path MODEL --load-format 3fs``, by its plugin framework."""

import functools
from typing import Any, Callable, Dict

from .fitting import MissingError, guarded, needs_function, unfit
from .options import LOAD_FORMAT, Options, take_options

_VERIFY = "sglang.srt.configs.load_config.LoadConfig._verify_load_format"
_ITERATOR = "sglang.srt.model_loader.loader.DefaultModelLoader._get_weights_iterator"


class _Extra(Dict[str, Any]):
    """The extra configuration that is left for SGLang's own loaders, with our options on it: wherever a configuration
    of ours is copied to, they go with it, and tell it from others."""

    options: Options


def register() -> None:
    """The entry point in group ``sglang.srt.plugins``: SGLang calls it in each of its processes."""
    guarded("sglang", _register)


def _register() -> None:
    from sglang.srt.configs.load_config import LoadConfig, LoadFormat  # noqa: PLC0415
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType  # noqa: PLC0415
    from sglang.srt.server_args import add_load_format_choices  # noqa: PLC0415

    needs_function(LoadConfig, "_verify_load_format", ("self",))
    if not hasattr(LoadFormat, "FASTSAFETENSORS"):
        raise MissingError("there is no LoadFormat.FASTSAFETENSORS")
    HookRegistry.register(_VERIFY, _verify_load_format, HookType.AROUND)
    add_load_format_choices([LOAD_FORMAT])


def _verify_load_format(original: Callable[[Any], None], config: Any) -> None:
    """To the rest of SGLang a configuration for our format is one for that of its own which reads safetensors, with
    one function, and nothing else."""
    if str(config.load_format).lower() == LOAD_FORMAT:
        options, rest = take_options(config.model_loader_extra_config)
        config.model_loader_extra_config = _Extra(rest)
        config.model_loader_extra_config.options = options
        config.load_format = "fastsafetensors"
        _hook_loader()
    original(config)


@functools.lru_cache
def _hook_loader() -> None:
    """Once, and not before it is needed: importing the loader takes seconds. RuntimeError: it does not fit."""
    from sglang.srt.model_loader import loader  # noqa: PLC0415
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType  # noqa: PLC0415

    reads_with = "fastsafetensors_weights_iterator"
    try:
        needs_function(loader.DefaultModelLoader, "_get_weights_iterator", ("source",), uses=(reads_with,))
        needs_function(loader, reads_with, ("hf_weights_files",))
        from .sglang_loader import get_weights_iterator  # noqa: PLC0415 - it imports what was looked at just now
    except (MissingError, ImportError) as e:
        raise RuntimeError(unfit("sglang", e)) from e
    HookRegistry.register(_ITERATOR, get_weights_iterator, HookType.AROUND)
    HookRegistry.apply_hooks()

# SPDX-License-Identifier: Apache-2.0
"""How a plugin fits itself into an engine without changing it, and says so when it does not fit."""

import importlib.util
import inspect
import logging
import sys
import types
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Callable, Optional, Sequence

from .options import LOAD_FORMAT

_logger = logging.getLogger(__name__)


class MissingError(Exception):
    """An engine has not, or no longer, what a plugin needs of it."""


def unfit(engine: str, error: Exception) -> str:
    """What is to be said when a plugin does not fit."""
    why = str(error) if isinstance(error, MissingError) else f"{type(error).__name__}: {error}"
    return f"--load-format {LOAD_FORMAT} does not fit {engine} {_version(engine)}: {why}"


def _version(engine: str) -> str:
    try:
        return version(engine)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(engine), "__version__", "(of unknown version)"))


def guarded(engine: str, fit: Callable[[], None]) -> None:
    """Calls ``fit``. Whatever goes wrong is logged and ends here: an engine that is not asked for our load format is
    not to be disturbed by us."""
    try:
        fit()
    except Exception as e:
        _logger.warning("%s", unfit(engine, e))


def when_imported(module: str, do: Callable[[], None]) -> None:
    """Calls ``do`` as soon as ``module`` has been imported, by whomever: so that a plugin does not make an engine
    import, in processes that load no model, what takes seconds."""
    if module in sys.modules:
        do()
    else:
        sys.meta_path.insert(0, _WhenImported(module, do))


class _WhenImported(MetaPathFinder):
    def __init__(self, module: str, do: Callable[[], None]) -> None:
        self._module, self._do = module, do

    def find_spec(
        self, name: str, path: Optional[Sequence[str]], target: Optional[types.ModuleType] = None
    ) -> Optional[ModuleSpec]:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                execute(module)
                self._do()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign] # of this one loader
        return spec


def needs_function(owner: Any, name: str, parameters: Sequence[str] = (), uses: Sequence[str] = ()) -> None:
    """MissingError unless ``owner`` has a Python function ``name`` with these parameters that uses these globals."""
    label = f"{getattr(owner, '__qualname__', owner.__name__)}.{name}"
    function = getattr(owner, name, None)
    if not isinstance(function, types.FunctionType):
        raise MissingError(f"there is no function {label}")
    has = inspect.signature(function).parameters
    for parameter in parameters:
        if parameter not in has:
            raise MissingError(f"{label} has no parameter {parameter!r}")
    for used in uses:
        if used not in function.__code__.co_names or used not in function.__globals__:
            raise MissingError(f"{label} does not use {used}")


def with_globals(function: types.FunctionType, **replaced: Any) -> types.FunctionType:
    """The same function with some of its module's names meaning something else, for this copy alone."""
    copy = types.FunctionType(
        function.__code__,
        {**function.__globals__, **replaced},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy

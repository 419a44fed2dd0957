# SPDX-License-Identifier: Apache-2.0
"""Which backend this process uses, chosen once, when the package is imported."""

import importlib
import logging
import os
from importlib.util import find_spec
from types import ModuleType
from typing import List, NamedTuple, Tuple, Type

from .interface import FileReaderInterface, PathType

ENVIRONMENT = "FASTSAFETENSORS_BACKEND"
ALIASES = {"cpp": "c"}


class Backend(NamedTuple):
    """One row of the table below.

    ``module`` has READER, the reader's class, and ``extract_mount_point``. Without ``needs``, a module of this
    package, the backend is not installed; when it is there and does not load, that is an error.
    """

    name: str
    module: str
    needs: str
    reads_3fs: bool


#: In the order of preference.
BACKENDS = (
    Backend("c", "reader_c", needs="_core", reads_3fs=True),
    Backend("python", "reader_py", needs="reader_py", reads_3fs=True),
    Backend("mock", "mock", needs="mock", reads_3fs=False),
)


def _by_name(name: str) -> Backend:
    wanted = ALIASES.get(name, name)
    for backend in BACKENDS:
        if backend.name == wanted:
            return backend
    known = ", ".join([b.name for b in BACKENDS] + sorted(ALIASES) + ["auto"])
    raise ValueError(f"unknown backend {name!r}: it is one of {known}")


def _installed(backend: Backend) -> bool:
    return find_spec(f"{__package__}.{backend.needs}") is not None


def _load(backend: Backend) -> ModuleType:
    if not _installed(backend):
        raise ImportError(f"backend {backend.name!r}: {__package__}.{backend.needs} is not installed")
    try:
        return importlib.import_module(f"{__package__}.{backend.module}")
    except ImportError as e:
        raise ImportError(f"backend {backend.name!r} is installed, but does not load: {e}") from e


def _choose() -> Tuple[Backend, List[str]]:
    """The backend, and why not those before it."""
    forced = os.environ.get(ENVIRONMENT, "") or "auto"
    if forced != "auto":
        try:
            return _by_name(forced), []
        except ValueError as e:
            raise ValueError(f"{ENVIRONMENT}: {e}") from None
    why_not: List[str] = []
    for backend in BACKENDS:
        if _installed(backend):
            return backend, why_not
        why_not.append(f"{backend.name}: {__package__}.{backend.needs} is not installed")
    raise ImportError("no backend: " + "; ".join(why_not))


_active, _why_not = _choose()
_modules = {_active.name: _load(_active)}
logging.getLogger(__package__).info("backend %s%s", _active.name, f" (not {'; '.join(_why_not)})" if _why_not else "")


def reader_class(backend: str = "auto") -> Type[FileReaderInterface]:
    """The reader of a backend, "auto" = of the active one."""
    chosen = _active if backend == "auto" else _by_name(backend)
    if chosen.name not in _modules:
        _modules[chosen.name] = _load(chosen)
    reader: Type[FileReaderInterface] = _modules[chosen.name].READER
    return reader


def create_reader(backend: str = "auto", **kwargs: object) -> FileReaderInterface:
    """Makes a reader of any backend, with the keywords of its constructor."""
    return reader_class(backend)(**kwargs)


def get_backend() -> str:
    """The name of the active backend."""
    return _active.name


def is_available() -> bool:
    """Can the active backend read from 3FS?"""
    return _active.reads_3fs


def extract_mount_point(path: PathType) -> str:
    """The 3FS mount point of a path, "" when it is on none."""
    return str(_modules[_active.name].extract_mount_point(path))

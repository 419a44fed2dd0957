# SPDX-License-Identifier: Apache-2.0
"""Where the official USRBIO library, libhf3fs_api_shared.so, is, and what is wrong with what was found instead."""

import _ctypes
import ctypes
import logging
import os
import re
import sysconfig
import threading
from importlib.util import find_spec
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

LIBRARY = "libhf3fs_api_shared.so"
BINDING = "hf3fs_py_usrbio"
#: The plain name, versioned ones, and what auditwheel makes of it when it puts the library into a binding's wheel.
_NAMES = re.compile(r"libhf3fs_api_shared(-[0-9a-f]{8})?\.so(\.\d+)*")

FUNCTIONS = tuple(
    "hf3fs_" + name
    for name in [
        "is_hf3fs",
        "extract_mount_point",
        "iovcreate",
        "iovopen",
        "iovunlink",
        "iovdestroy",
        "iovwrap",
        "ior_size",
        "iorcreate",
        "iorcreate2",
        "iorcreate3",
        "iorcreate4",
        "iordestroy",
        "reg_fd",
        "dereg_fd",
        "io_entries",
        "prep_io",
        "submit_ios",
        "wait_for_ios",
        "hardlink",
        "punchhole",
    ]
)

#: Asked for once: a process that gives up its rights later may not read Python's own files any more.
SITES = tuple(dict.fromkeys(sysconfig.get_path(key) for key in ("platlib", "purelib")))

_logger = logging.getLogger(__package__)
_lock = threading.Lock()
_loaded: Dict[str, ctypes.CDLL] = {}


class Candidate(NamedTuple):
    """A file of the right name, and why it is none of the right kind: "" when it is."""

    path: str
    refused: str


# ------------------------------------------------------------------ where to look


def _sites() -> Iterator[str]:
    """Where an installed binding may be: an extension module in site-packages, or a package there."""
    spec = find_spec(BINDING)
    if spec is not None and spec.origin is not None:
        beside = os.path.dirname(spec.origin)
        yield os.path.dirname(beside) if spec.submodule_search_locations else beside
    yield from SITES


def search_path() -> List[str]:
    """The folders to look in, in their order."""
    folders = [os.environ.get("HF3FS_LIB_DIR", ""), *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    for site in _sites():
        folders += [os.path.join(site, *inside) for inside in ((f"{BINDING}.libs",), (BINDING,), (BINDING, "lib"), ())]
    return list(dict.fromkeys(folder for folder in folders if folder))


def _files() -> Iterator[str]:
    for folder in search_path():
        try:
            names = sorted(name for name in os.listdir(folder) if _NAMES.fullmatch(name))
        except OSError:
            continue
        # The plain name sorts before its versions.
        yield from (os.path.join(folder, name) for name in names)


# ------------------------------------------------------------------ what is there

_ELF_HEADER = 20


def _elf_header(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_ELF_HEADER)


def _kind(header: bytes) -> Tuple[bytes, bytes]:
    """Word size and byte order, and the machine."""
    return header[4:6], header[18:20]


def _fault(path: str) -> str:
    """What is wrong with a file as far as can be told without loading it, or ""."""
    if not os.path.isfile(path):
        return "not a file"
    try:
        header = _elf_header(path)
    except OSError as e:
        return e.strerror or str(e)
    if not header:
        return "empty"
    if len(header) < _ELF_HEADER or not header.startswith(b"\x7fELF"):
        return "not an ELF library"
    if _kind(header) != _kind(_elf_header("/proc/self/exe")):
        return f"built for another machine (ELF machine {int.from_bytes(header[18:20], 'little')})"
    return ""


def candidates() -> List[Candidate]:
    """Every file of the right name, in the order of the search, judged without loading it."""
    return [Candidate(path, _fault(path)) for path in _files()]


def get_hf3fs_lib_path() -> Optional[str]:
    """The path of the first libhf3fs_api_shared.so found that this machine could load, or None."""
    for candidate in candidates():
        if not candidate.refused:
            return candidate.path
    return None


# ------------------------------------------------------------------ loading


def _load(path: str) -> str:
    """Loads a library for good, visible to the bindings that are linked with it. Why not, or ""."""
    try:
        # Out of everybody's sight until it is known to be whole.
        library = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as e:
        return str(e)
    missing = [name for name in FUNCTIONS if not hasattr(library, name)]
    if missing:
        _ctypes.dlclose(library._handle)
        return f"it lacks {', '.join(missing)}"
    _loaded[path] = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    return ""


def load() -> Tuple[str, List[Candidate]]:
    """Loads the first library that can be, or finds it loaded: its path, and all candidates with what became of them.

    FileNotFoundError says where it was looked for, and what was refused there.
    """
    judged = []
    with _lock:
        for path, fault in candidates():
            refused = fault or ("" if path in _loaded else _load(path))
            judged.append(Candidate(path, refused))
            if not refused:
                return path, judged
            _logger.warning("%s: refused: %s", path, refused)
    raise FileNotFoundError(
        f"{LIBRARY} was asked for and is in none of: {', '.join(search_path())}"
        + "".join(f"; {path} was refused: {refused}" for path, refused in judged)
    )

# SPDX-License-Identifier: Apache-2.0
"""Where the official USRBIO library, libhf3fs_api_shared.so, is."""

import os
import re
import sysconfig
from typing import Iterator, Optional

LIBRARY = "libhf3fs_api_shared.so"
_VERSIONED = re.compile(re.escape(LIBRARY) + r"(\.\d+)*")


def _beside_binding() -> Iterator[str]:
    """Folders in which a wheel of hf3fs_py_usrbio may carry the library."""
    for key in ("platlib", "purelib"):
        site = sysconfig.get_path(key)
        for folder in ("hf3fs_py_usrbio.libs", "hf3fs_py_usrbio", os.path.join("hf3fs_py_usrbio", "lib")):
            yield os.path.join(site, folder)


def search_path() -> Iterator[str]:
    """The folders to look in, in their order."""
    yield os.environ.get("HF3FS_LIB_DIR", "")
    yield from os.environ.get("LD_LIBRARY_PATH", "").split(":")
    yield from _beside_binding()


def _library_in(folder: str) -> Optional[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    # The plain name sorts first.
    for name in sorted(n for n in names if _VERSIONED.fullmatch(n)):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None


def get_hf3fs_lib_path() -> Optional[str]:
    """The path of the first libhf3fs_api_shared.so found, or None."""
    for folder in search_path():
        path = _library_in(folder) if folder else None
        if path is not None:
            return path
    return None

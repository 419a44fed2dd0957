# SPDX-License-Identifier: Apache-2.0
"""The tensors of one safetensors file or of many: what their headers say, and which of them are wanted."""

import difflib
import fnmatch
import os
import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import _core
from .interface import PathType

#: Patterns, or a function of a tensor's name.
TensorFilter = Union[str, Sequence[str], Callable[[str], bool]]
Files = Union[PathType, Sequence[PathType]]


class TensorInfo(NamedTuple):
    """What a header says of a tensor: ``dtype`` as headers spell it, ``offset`` in its file."""

    name: str
    dtype: str
    shape: Tuple[int, ...]
    file: str
    offset: int
    nbytes: int


def as_list(files: Files) -> List[PathType]:
    return [files] if isinstance(files, (str, bytes, os.PathLike)) else list(files)


class Checkpoint:
    """The headers of a directory (what its index names, else all of its ``*.safetensors``), an index, a file or files.

    Never changes. Tensors are numbered by file and offset.
    """

    def __init__(self, reader: "_core.Reader", files: Files) -> None:
        self.core = reader.checkpoint(as_list(files))
        self.files = self.core.files()
        self.tensors = [
            TensorInfo(name, dtype, shape, self.files[file], offset, nbytes)
            for name, dtype, shape, file, offset, nbytes in self.core.tensors()
        ]
        self._numbers = {tensor.name: number for number, tensor in enumerate(self.tensors)}

    def number(self, name: str) -> int:
        """KeyError, with names that are like it, for one that there is not."""
        try:
            return self._numbers[name]
        except KeyError:
            raise _UnknownNameError(self._unknown(name)) from None

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._numbers, n=3)
        where = self.files[0] if len(self.files) == 1 else f"{len(self.files)} files from {self.files[0]}"
        hint = f"; is it {' or '.join(map(repr, near))}?" if near else ""
        return f"no tensor {name!r} in {where}{hint}"

    def metadata(self) -> Optional[Dict[str, str]]:
        """``__metadata__`` of all files together, the first file's word counting; None when none has any."""
        merged: Dict[str, str] = {}
        for file in reversed(range(len(self.files))):
            merged.update(self.core.metadata(file))
        return merged or None

    def select(self, wanted: Optional[TensorFilter], mode: str) -> Optional[List[int]]:
        """The numbers of the tensors that a filter wants; None = no filter.

        ``mode`` says what patterns are: "glob", "regex" (anywhere in the name), or "exact" (KeyError for a name that
        there is not).
        """
        if mode not in _MATCHERS:
            raise ValueError(f"tensor_name_match_mode must be one of {', '.join(_MATCHERS)}, not {mode!r}")
        if wanted is None:
            return None
        if callable(wanted):
            return [n for n, tensor in enumerate(self.tensors) if wanted(tensor.name)]
        patterns = [wanted] if isinstance(wanted, str) else list(wanted)
        if mode == "exact":
            return sorted({self.number(name) for name in patterns})
        matches = _MATCHERS[mode](patterns)
        return [n for n, tensor in enumerate(self.tensors) if matches(tensor.name)]


class _UnknownNameError(KeyError):
    """Shows its text as it is, which KeyError itself puts into quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


def _regex(patterns: Iterable[str]) -> Callable[[str], object]:
    compiled = []
    for pattern in patterns:
        try:
            compiled.append(re.compile(pattern))
        except re.error as e:
            raise ValueError(f"tensor_filter {pattern!r} is no regular expression: {e}") from None
    return lambda name: any(pattern.search(name) for pattern in compiled)


def _glob(patterns: Iterable[str]) -> Callable[[str], object]:
    """A pattern stands for a whole name."""
    return _regex(rf"\A{fnmatch.translate(pattern)}" for pattern in patterns)


#: "exact" is looked up by name instead.
_MATCHERS: Dict[str, Callable[[Iterable[str]], Callable[[str], object]]] = {
    "glob": _glob,
    "exact": _regex,
    "regex": _regex,
}

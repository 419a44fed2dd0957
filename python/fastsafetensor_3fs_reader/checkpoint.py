# SPDX-License-Identifier: Apache-2.0
"""The tensors of one safetensors file or of many: what their headers say, and which of them are wanted."""

import difflib
import fnmatch
import os
import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union, overload

from . import _core
from .interface import PathType

#: Patterns, or a function of a tensor's name.
TensorFilter = Union[str, Sequence[str], Callable[[str], bool]]
Files = Union[PathType, Sequence[PathType]]

#: The format's dtypes, as PyTorch calls them, and NumPy or ml_dtypes where they have them.
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "F4": "float4_e2m1fn_x2",  # two of them to an element
}


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


class Tensors(Sequence[TensorInfo]):
    """The tensors of a checkpoint by number, each made when it is looked at: a large model has 100,000."""

    def __init__(self, core: "_core.Checkpoint", files: Sequence[str]) -> None:
        self._core, self._files = core, files

    def __len__(self) -> int:
        return len(self._core)

    @overload
    def __getitem__(self, number: int) -> TensorInfo: ...
    @overload
    def __getitem__(self, number: slice) -> List[TensorInfo]: ...
    def __getitem__(self, number: Union[int, slice]) -> Union[TensorInfo, List[TensorInfo]]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"tensor {number} of {len(self)}")
        name, dtype, shape, file, offset, nbytes = self._core.tensor(number % len(self))
        return TensorInfo(name, dtype, shape, self._files[file], offset, nbytes)


class Checkpoint:
    """The headers of a directory (what its index names, else all of its ``*.safetensors``), an index, a file or files.

    Never changes. Tensors are numbered by file and offset.
    """

    def __init__(self, reader: "_core.Reader", files: Files) -> None:
        self.core = reader.checkpoint(as_list(files))
        self.files = self.core.files()
        self.tensors = Tensors(self.core, self.files)

    def number(self, name: str) -> int:
        """KeyError, with names that are like it, for one that there is not."""
        number = self.core.find(name)
        if number is None:
            raise _UnknownNameError(self._unknown(name))
        return number

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.core.names(), n=3)
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
            return [n for n, name in enumerate(self.core.names()) if wanted(name)]
        patterns = [wanted] if isinstance(wanted, str) else list(wanted)
        if mode == "exact":
            return sorted({self.number(name) for name in patterns})
        matches = _MATCHERS[mode](patterns)
        return [n for n, name in enumerate(self.core.names()) if matches(name)]


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
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match


#: "exact" is looked up by name instead.
_MATCHERS: Dict[str, Callable[[Iterable[str]], Callable[[str], object]]] = {
    "glob": _glob,
    "exact": _regex,
    "regex": _regex,
}

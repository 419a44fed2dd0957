# SPDX-License-Identifier: Apache-2.0
"""Tensors for NumPy, straight from 3FS: the interface of ``safetensors``, over many files.

BF16 and the 8-bit floats come as ``ml_dtypes`` has them.
"""

from typing import Any, Dict, Optional, Tuple

from .checkpoint import DTYPES, Files, TensorFilter, TensorInfo
from .hugepages import HugePages
from .interface import PathType
from .safeopen import DEFAULT_AHEAD, Framework, ReaderSettings, SafeOpen, kept

try:
    import numpy
except ImportError as e:
    raise ImportError(f"{__name__} needs NumPy: pip install numpy") from e

_ML_DTYPES = frozenset(("BF16", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"))


def _dtype(tensor: TensorInfo) -> "numpy.dtype[Any]":
    where = f"{tensor.file}: {tensor.name} is {tensor.dtype}"
    if tensor.dtype not in DTYPES or tensor.dtype == "F4":
        raise ValueError(f"{where}, for which NumPy has no dtype")
    if tensor.dtype not in _ML_DTYPES:
        return numpy.dtype(DTYPES[tensor.dtype])
    try:
        import ml_dtypes  # noqa: PLC0415 - for a few dtypes alone
    except ImportError:
        raise ValueError(f"{where}, for which NumPy needs ml_dtypes: pip install ml_dtypes") from None
    found = getattr(ml_dtypes, DTYPES[tensor.dtype], None)
    if found is None:
        raise ValueError(f"{where}, which ml_dtypes {ml_dtypes.__version__} does not have")
    dtype: numpy.dtype[Any] = numpy.dtype(found)
    return dtype


class NumpyFramework(Framework["numpy.ndarray[Any, Any]"]):
    """``keep``: bytes of memory that is used again for arrays, see HugePages."""

    device = "cpu"

    def __init__(self, keep: int) -> None:
        self._huge_pages = HugePages(keep)

    def release(self) -> None:
        self._huge_pages.release()

    def empty(self, tensor: TensorInfo) -> Tuple["numpy.ndarray[Any, Any]", int]:
        return self._make(tensor.shape, _dtype(tensor), tensor.nbytes)

    def rows(self, tensor: TensorInfo, count: int, nbytes: int) -> Tuple["numpy.ndarray[Any, Any]", int]:
        return self._make((count, *tensor.shape[1:]), _dtype(tensor), nbytes)

    def _make(
        self, shape: Tuple[int, ...], dtype: "numpy.dtype[Any]", nbytes: int
    ) -> Tuple["numpy.ndarray[Any, Any]", int]:
        memory = self._huge_pages.take(nbytes)
        made = (
            numpy.empty(shape, dtype) if memory is None else numpy.frombuffer(memoryview(memory), dtype).reshape(shape)
        )
        return made, int(made.ctypes.data)


def safe_open(
    files: Files,
    framework: str = "np",
    device: str = "cpu",
    tensor_filter: Optional[TensorFilter] = None,
    tensor_name_match_mode: str = "glob",
    *,
    progress: bool = False,
    ahead: int = DEFAULT_AHEAD,
    mount_point: Optional[PathType] = None,
    entries: int = 64,
    buffer_size: int = 64 << 20,
    timeout: Optional[float] = None,
    usrbio: Optional[str] = None,
    require: Optional[str] = None,
) -> SafeOpen["numpy.ndarray[Any, Any]"]:
    """Opens the tensors of a directory, an index, a file or a list of files. A context manager.

    ``tensor_filter``: a pattern or several, or a function of a name; ``tensor_name_match_mode`` says what patterns are:
    "glob", "exact" or "regex". ``progress``: a bar, with GB/s. ``ahead``: bytes of tensors that may be under way or
    waiting to be taken. ``mount_point``: None = that of the first file on 3FS; the others are those of
    ``ThreeFSFileReader``.
    """
    if framework not in ("np", "numpy"):
        raise ValueError(f"framework must be 'np' here, not {framework!r}; for 'pt' there is {__package__}.torch")
    if device != "cpu":
        raise ValueError(f"device {device!r}: NumPy has arrays on the cpu alone")
    return SafeOpen(
        files,
        NumpyFramework(kept(ahead)),
        tensor_filter,
        tensor_name_match_mode,
        progress,
        ahead,
        ReaderSettings(mount_point, entries, buffer_size, timeout, usrbio, require),
    )


def load_file(filename: PathType, **settings: Any) -> Dict[str, "numpy.ndarray[Any, Any]"]:
    """All tensors of a file by name. ``settings`` as those of ``safe_open``."""
    return load_model(filename, **settings)


def load_model(directory: Files, **settings: Any) -> Dict[str, "numpy.ndarray[Any, Any]"]:
    """All tensors of a directory, an index or a list of files by name. ``settings`` as those of ``safe_open``."""
    with safe_open(directory, **settings) as f:
        return dict(f.tensors())


__all__ = ["TensorInfo", "load_file", "load_model", "safe_open"]

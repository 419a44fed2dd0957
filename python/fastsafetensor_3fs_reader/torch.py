# SPDX-License-Identifier: Apache-2.0
"""Tensors for PyTorch, straight from 3FS: the interface of ``safetensors``, over many files, on one process or many.

from fastsafetensor_3fs_reader.torch import safe_open

with safe_open("/mnt/3fs/model", device="cuda:0") as f:
    for name, tensor in f.tensors():
        ...
"""

from types import TracebackType
from typing import Any, Dict, Iterator, Optional, Tuple, Type, Union

from .checkpoint import DTYPES, Files, TensorFilter, TensorInfo
from .hugepages import HugePages
from .interface import PathType
from .safeopen import DEFAULT_AHEAD, Framework, ReaderSettings, SafeOpen, kept
from .settings import resolve

try:
    import torch
except ImportError as e:
    raise ImportError(f"{__name__} needs PyTorch: pip install torch (without it: {__package__}.numpy)") from e

from .exchange import Exchange
from .ranks import DEFAULT_WINDOW, SharedReading

#: None = this PyTorch has none, which is an error when a tensor of it is read.
_DTYPES: Dict[str, Optional[torch.dtype]] = {dtype: getattr(torch, name, None) for dtype, name in DTYPES.items()}


def _dtype(tensor: TensorInfo) -> torch.dtype:
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise ValueError(
            f"{tensor.file}: {tensor.name} is {tensor.dtype}, for which PyTorch {torch.__version__} has no dtype"
        )
    return dtype


def _shape(tensor: TensorInfo) -> Tuple[int, ...]:
    if tensor.dtype != "F4":
        return tensor.shape
    if not tensor.shape or tensor.shape[-1] % 2:
        raise ValueError(f"{tensor.file}: {tensor.name} is F4 with an odd last dimension: {tensor.shape}")
    return (*tensor.shape[:-1], tensor.shape[-1] // 2)


def _device(wanted: Union[str, int, torch.device]) -> torch.device:
    """ValueError for one that this process does not have."""
    try:
        device = torch.device("cuda", wanted) if isinstance(wanted, int) else torch.device(wanted)
    except RuntimeError as e:
        raise ValueError(f"device {wanted!r}: {e}") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise ValueError(f"device {wanted!r}: only cpu and cuda devices can be read to")
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if device.index is None and count else device.index or 0
    if index >= count:
        raise ValueError(f"device {wanted!r}: this process has {count} CUDA devices")
    return torch.device("cuda", index)


class TorchFramework(Framework[torch.Tensor]):
    """``keep``: bytes of memory that is used again for tensors, see HugePages."""

    def __init__(self, device: Union[str, int, torch.device], keep: int) -> None:
        self.torch_device = _device(device)
        self._on_host = self.torch_device.type == "cpu"
        self._huge_pages = HugePages(keep)

    @property
    def device(self) -> str:
        return str(self.torch_device)

    def empty(self, tensor: TensorInfo) -> Tuple[torch.Tensor, int]:
        return self._make(_shape(tensor), _dtype(tensor), tensor.nbytes)

    def rows(self, tensor: TensorInfo, count: int, nbytes: int) -> Tuple[torch.Tensor, int]:
        return self._make((count, *_shape(tensor)[1:]), _dtype(tensor), nbytes)

    def _make(self, shape: Tuple[int, ...], dtype: torch.dtype, nbytes: int) -> Tuple[torch.Tensor, int]:
        memory = self._huge_pages.take(nbytes) if self._on_host else None
        if memory is None:
            made = torch.empty(shape, dtype=dtype, device=self.torch_device)
        else:
            made = torch.frombuffer(memory, dtype=torch.uint8).view(dtype).view(shape)
        return made, made.data_ptr()

    def release(self) -> None:
        self._huge_pages.release()

    def ready(self) -> None:
        """The engine's copies come after the default stream. Memory may still be in use by another."""
        if not self._on_host:
            stream = torch.cuda.current_stream(self.torch_device)
            if stream != torch.cuda.default_stream(self.torch_device):
                stream.synchronize()


class TorchSafeOpen(SafeOpen[torch.Tensor]):
    """What ``safe_open`` gives. See SafeOpen for its methods."""

    def __init__(self, files: Files, framework: TorchFramework, process_group: Any, window: int, **kwargs: Any) -> None:
        self._torch_framework, self._window = framework, window
        self._shared: Optional[SharedReading] = None
        # With a filter each rank wants its own.
        shares = process_group is not None and kwargs["tensor_filter"] is None and process_group.size() > 1
        timeout = float(str(resolve("timeout", kwargs["settings"].timeout)))
        self._exchange = Exchange(process_group, framework.torch_device, timeout) if shares else None
        try:
            super().__init__(files, framework, **kwargs)
        except BaseException as e:
            self._say_goodbye(e)
            raise

    def tensors(self) -> Iterator[Tuple[str, torch.Tensor]]:
        if self._exchange is None:
            return super().tensors()
        self._check_open()
        if self._shared is not None:
            self._shared.close()
            self._exchange = self._exchange.again()
        self._shared = SharedReading(
            self._reader, self.checkpoint, self._exchange, self._torch_framework, self._window, self._progress
        )
        return self._shared.tensors()

    def _say_goodbye(self, failure: BaseException) -> None:
        if self._shared is not None:
            self._shared.close(failure)
        elif self._exchange is not None:
            self._exchange.goodbye(failure)

    def info(self) -> Dict[str, object]:
        return {**super().info(), **(self._shared.info() if self._shared is not None else {})}

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()
        super().close()

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        # What the other ranks are told of, when it is what ends the block.
        if exc is not None:
            self._say_goodbye(exc)
        super().__exit__(exc_type, exc, traceback)


def safe_open(
    files: Files,
    framework: str = "pt",
    device: Union[str, int, torch.device] = "cpu",
    process_group: Any = None,
    tensor_filter: Optional[TensorFilter] = None,
    tensor_name_match_mode: str = "glob",
    *,
    progress: bool = False,
    ahead: int = DEFAULT_AHEAD,
    window: int = DEFAULT_WINDOW,
    mount_point: Optional[PathType] = None,
    entries: int = 64,
    buffer_size: int = 64 << 20,
    timeout: Optional[float] = None,
    usrbio: Optional[str] = None,
    require: Optional[str] = None,
) -> TorchSafeOpen:
    """Opens the tensors of a directory, an index, a file or a list of files. A context manager.

    ``device``: "cpu", "cuda", "cuda:N". ``process_group``: one of torch.distributed, in which every rank calls this and
    wants every tensor: each reads its part, and the group exchanges them, in windows of ``window`` bytes; gloo does so
    in host memory. ``tensor_filter``: a pattern or several, or a function of a name; ``tensor_name_match_mode`` says
    what patterns are: "glob", "exact" or "regex". With a filter each rank reads its own selection alone.
    ``progress``: a bar, with GB/s. ``ahead``: bytes of tensors that may be under way or waiting to be taken.

    ``mount_point``: None = that of the first file on 3FS; the others are those of ``ThreeFSFileReader``. A file that is
    not on 3FS is read through the operating system, with a warning; ``require="usrbio"`` makes that an error.

    ValueError names file, tensor and what is wrong; KeyError a name that there is not; OSError what 3FS or the system
    said.
    """
    if framework not in ("pt", "torch", "pytorch"):
        raise ValueError(f"framework must be 'pt' here, not {framework!r}; for 'np' there is {__package__}.numpy")
    settings = ReaderSettings(mount_point, entries, buffer_size, timeout, usrbio, require)
    return TorchSafeOpen(
        files,
        TorchFramework(device, kept(ahead)),
        process_group,
        window,
        tensor_filter=tensor_filter,
        tensor_name_match_mode=tensor_name_match_mode,
        progress=progress,
        ahead=ahead,
        settings=settings,
    )


def load_file(
    filename: PathType, device: Union[str, int, torch.device] = "cpu", **settings: Any
) -> Dict[str, torch.Tensor]:
    """All tensors of a file by name. ``settings`` as those of ``safe_open``."""
    return load_model(filename, device, **settings)


def load_model(
    directory: Files, device: Union[str, int, torch.device] = "cpu", **settings: Any
) -> Dict[str, torch.Tensor]:
    """All tensors of a directory, an index or a list of files by name. ``settings`` as those of ``safe_open``."""
    with safe_open(directory, device=device, **settings) as f:
        return dict(f.tensors())


__all__ = ["TensorInfo", "load_file", "load_model", "safe_open"]

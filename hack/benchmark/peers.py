# SPDX-License-Identifier: Apache-2.0
"""What one would use instead of this package, each as its own documentation or published examples use it."""

import ctypes
import gc
import importlib
import json
import os
from multiprocessing.shared_memory import SharedMemory
from types import ModuleType
from typing import Callable, Dict, List, Optional

from dest import Memory
from ways import Reading, Settings

from fastsafetensor_3fs_reader import get_hf3fs_lib_path

# Numpy arrays and torch tensors alike; which library it is depends on what is installed.
Tensors = Dict[str, "object"]


def _short(path: str, got: int, length: int) -> OSError:
    return OSError(f"{path}: {got} of {length} bytes")


# ------------------------------------------------------------------ reads through the mount


class PlainRead(Reading):
    """pread through the mount, one buffer at a time. Host memory is read into directly."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._bounce = Memory(settings.buffer)

    def read(self, path: str, offset: int, length: int) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            done = 0
            while done < length:
                got = self._step(fd, offset + done, done, min(self.settings.buffer, length - done))
                if not got:
                    raise _short(path, done, length)
                done += got
            return done
        finally:
            os.close(fd)

    def _step(self, fd: int, offset: int, at: int, size: int) -> int:
        dest = self.settings.dest
        to = dest.address + at if dest.direct else self._bounce.address
        got = os.preadv(fd, [(ctypes.c_char * size).from_address(to)], offset)
        if not dest.direct:
            dest.put(at, to, got)
        return got

    def info(self) -> Dict[str, object]:
        return {"transport": "posix"}


# ------------------------------------------------------------------ USRBIO


def _usrbio() -> ModuleType:
    """hf3fs_fuse.io. A binding that does not bring the library along finds it loaded."""
    library = get_hf3fs_lib_path()
    if library is not None:
        ctypes.CDLL(library, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    return importlib.import_module("hf3fs_fuse.io")


class OneRequest(Reading):
    """USRBIO through hf3fs_fuse.io with one request in flight, as large as the buffer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._io = io = _usrbio()
        self._shm = SharedMemory(create=True, size=settings.buffer)
        self._iov = io.make_iovec(self._shm, settings.mount_point, 0, -1)
        # The daemon has mapped it; without its name nothing is left when this process is killed.
        self._shm.unlink()
        self._ring = io.make_ioring(settings.mount_point, 1, True, 0)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._shm.buf))

    def read(self, path: str, offset: int, length: int) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._io.register_fd(fd)
            try:
                return self._read(fd, path, offset, length)
            finally:
                self._io.deregister_fd(fd)
        finally:
            os.close(fd)

    def _read(self, fd: int, path: str, offset: int, length: int) -> int:
        done = 0
        while done < length:
            size = min(self.settings.buffer, length - done)
            self._ring.prepare(self._iov[:size], True, fd, offset + done)
            (finished,) = self._ring.submit().wait(min_results=1)
            if finished.result <= 0:
                raise _short(path, done, length)
            self.settings.dest.put(done, self._address, finished.result)
            done += finished.result
        return done

    def info(self) -> Dict[str, object]:
        return {"transport": "usrbio", "client": f"hf3fs_fuse.io ({self._io.__file__})"}

    def close(self) -> None:
        # The binding deregisters when its objects go.
        del self._ring, self._iov
        gc.collect()
        self._shm.close()
        super().close()


# ------------------------------------------------------------------ loaders of safetensors files


def _header(path: str) -> Dict[str, Dict[str, List[int]]]:
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return header


def _in_file_order(path: str) -> List[str]:
    header = _header(path)
    return sorted(header, key=lambda name: header[name]["data_offsets"])


class _Loader(Reading):
    """Loads whole files into tensors of its own. Several tensors of a file stay until the next file."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._path = ""
        self._tensors: Tensors = {}

    def _device(self) -> str:
        """Of the destination. "none" has no meaning to a loader: it delivers to the host."""
        device = self.settings.dest.device
        return "cpu" if device is None else f"cuda:{device}"

    def delivered(self, length: int) -> bytes:
        return b"".join(_tensor_bytes(self._tensors[name]) for name in _in_file_order(self._path))


def _tensor_bytes(tensor: object) -> bytes:
    if hasattr(tensor, "tobytes"):
        return tensor.tobytes()
    import torch  # noqa: PLC0415 (there when tensors are torch's)

    return tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()  # type: ignore[attr-defined]


def _nbytes(tensor: object) -> int:
    return int(tensor.nbytes)  # type: ignore[attr-defined]


class SafetensorsMmap(_Loader):
    """safetensors.safe_open: it maps the file through the mount, and each tensor is copied out of the mapping."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from safetensors import safe_open  # noqa: PLC0415 (only this way needs it)

        self._open: Callable[..., object] = safe_open
        self._framework = "np" if self._device() == "cpu" else "pt"

    def read(self, path: str, offset: int, length: int) -> int:
        self._path, self._tensors = path, {}
        where = {} if self._framework == "np" else {"device": self._device()}
        with self._open(path, framework=self._framework, **where) as file:  # type: ignore[attr-defined]
            for name in file.keys():  # noqa: SIM118 (no dict)
                self._tensors[name] = file.get_tensor(name)
        return sum(map(_nbytes, self._tensors.values()))

    def info(self) -> Dict[str, object]:
        from safetensors import __version__  # noqa: PLC0415

        return {"transport": "posix", "client": f"safetensors {__version__}, mmap", "devices": self._device()}


class FastSafetensors(_Loader):
    """fastsafetensors' loader with its no-GDS copier: threads that pread into bounce buffers."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from fastsafetensors import SafeTensorsFileLoader  # noqa: PLC0415 (only this way needs it)

        self._loader = SafeTensorsFileLoader(None, self._device(), nogds=True)
        self._buffers: Optional[object] = None

    def read(self, path: str, offset: int, length: int) -> int:
        self._drop()
        self._path = path
        self._loader.add_filenames({0: [path]})
        self._buffers = self._loader.copy_files_to_device()
        return length  # it raises when a byte is missing

    def delivered(self, length: int) -> bytes:
        self._tensors = {name: self._buffers.get_tensor(name) for name in self._loader.get_keys()}  # type: ignore
        return super().delivered(length)

    def _drop(self) -> None:
        self._tensors = {}
        if self._buffers is not None:
            self._buffers.close()  # type: ignore[attr-defined]
            self._loader.reset()
            self._buffers = None

    def info(self) -> Dict[str, object]:
        from fastsafetensors import __version__  # noqa: PLC0415

        return {"transport": "posix", "client": f"fastsafetensors {__version__}, no GDS", "devices": self._device()}

    def close(self) -> None:
        self._drop()
        self._loader.close()
        super().close()

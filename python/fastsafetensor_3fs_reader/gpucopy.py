# SPDX-License-Identifier: Apache-2.0
"""Bytes from host memory to an address that may be a GPU's, without the C library."""

import ctypes
import os
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Callable, NamedTuple, Optional

DRIVER = "libcuda.so.1"
_CONTEXT, _MEMORY_TYPE, _ORDINAL = 1, 2, 9
_DEVICE_MEMORY = 2


class Destination(NamedTuple):
    name: str
    #: (address to write to, address to read from, bytes); returns when the bytes are there
    copy: Callable[[int, int, int], object]


HOST = Destination("host", ctypes.memmove)


class Driver:
    """The CUDA driver. A call that fails raises RuntimeError with the driver's name for the error."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(status, ctypes.byref(text))
            raise RuntimeError(f"{name}: {(text.value or b'unknown error').decode()} ({status})")

    def attributes(self, address: int) -> SimpleNamespace:
        """What the driver knows of an address; all zero for ordinary memory."""
        context, kind, ordinal = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_int()
        wanted = (ctypes.c_int * 3)(_CONTEXT, _MEMORY_TYPE, _ORDINAL)
        values = (ctypes.c_void_p * 3)(*(ctypes.addressof(value) for value in (context, kind, ordinal)))
        self.call("cuPointerGetAttributes", 3, wanted, values, ctypes.c_uint64(address))
        return SimpleNamespace(context=context.value, device=kind.value == _DEVICE_MEMORY, ordinal=ordinal.value)

    def copy(self, context: Optional[int], ordinal: int, to: int, source: int, size: int) -> None:
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        handle = ctypes.c_void_p(context)
        if not context:  # memory of a pool belongs to none
            self.call("cuDevicePrimaryCtxRetain", ctypes.byref(handle), device)
        try:
            self.call("cuCtxPushCurrent_v2", handle)
            try:
                self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(to), ctypes.c_void_p(source), ctypes.c_size_t(size))
                # The copy may return before the last bytes have left the driver's own staging memory.
                self.call("cuStreamSynchronize", None)
            finally:
                self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        finally:
            if not context:
                self.call("cuDevicePrimaryCtxRelease_v2", device)


def _loaded_driver() -> Optional[Driver]:
    """The one that this process has loaded: nobody can have GPU memory without it."""
    try:
        return Driver(ctypes.CDLL(DRIVER, mode=os.RTLD_NOLOAD | os.RTLD_NOW))
    except OSError:
        return None


def _through_torch(ordinal: int) -> Optional[Callable[[int, int, int], object]]:
    if find_spec("torch") is None:
        return None
    import torch  # noqa: PLC0415 - seconds to import, and seldom needed

    if not torch.cuda.is_available():
        return None
    device = torch.device("cuda", ordinal)

    def copy(to: int, source: int, size: int) -> None:
        view = {"shape": (size,), "typestr": "|u1", "data": (to, False), "version": 3}
        target = torch.as_tensor(SimpleNamespace(__cuda_array_interface__=view), device=device)
        data = torch.frombuffer((ctypes.c_ubyte * size).from_address(source), dtype=torch.uint8)
        target.copy_(data)
        torch.cuda.current_stream(device).synchronize()

    return copy


def find_destination(address: int) -> Destination:
    """Whose memory an address is, and how to copy there. RuntimeError says which call of the driver failed."""
    driver = _loaded_driver()
    found = driver.attributes(address) if driver is not None else None
    if driver is None or found is None or not found.device:
        return HOST

    def copy(to: int, source: int, size: int) -> None:
        driver.copy(found.context, found.ordinal, to, source, size)

    return Destination(f"cuda:{found.ordinal}", _through_torch(found.ordinal) or copy)

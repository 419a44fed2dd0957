# SPDX-License-Identifier: Apache-2.0
"""As much of the CUDA driver as a destination needs, from libcuda.so.1; no toolkit and no framework."""

import ctypes

from fastsafetensor_3fs_reader.gpucopy import DRIVER, Driver


def _driver() -> Driver:
    driver = Driver(ctypes.CDLL(DRIVER))
    driver.call("cuInit", 0)
    return driver


def count() -> int:
    """GPUs that this process can use; 0 without a driver."""
    try:
        driver, devices = _driver(), ctypes.c_int()
        driver.call("cuDeviceGetCount", ctypes.byref(devices))
    except (OSError, AttributeError, RuntimeError):
        return 0
    return devices.value


class Gpu:
    """One device, through its primary context, which becomes the calling thread's."""

    def __init__(self, number: int) -> None:
        self._driver = _driver()
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._driver.call("cuDeviceGet", ctypes.byref(self._device), number)
        self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._driver.call("cuCtxSetCurrent", context)

    def alloc(self, nbytes: int) -> int:
        address = ctypes.c_uint64()
        self._driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(1, nbytes)))
        return address.value

    def free(self, address: int) -> None:
        self._driver.call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, address: int, source: int, nbytes: int) -> None:
        self._driver.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(source), ctypes.c_size_t(nbytes))

    def read(self, address: int, nbytes: int) -> bytes:
        content = ctypes.create_string_buffer(nbytes)
        self._driver.call("cuMemcpyDtoH_v2", content, ctypes.c_uint64(address), ctypes.c_size_t(nbytes))
        return content.raw

    def close(self) -> None:
        self._driver.call("cuDevicePrimaryCtxRelease_v2", self._device)

# SPDX-License-Identifier: Apache-2.0
"""GPUs, by the driver itself: how many, and whether memory can be page-locked for their copies."""

import ctypes
import mmap
from typing import Any, List

from .. import child
from ..child import Report
from .lines import BAD, NONE, OK, WARN, Line

DRIVER = "libcuda.so.1"
SILENCE_S = 30.0  # a driver without persistence takes its time
PAGES = 1 << 20


class DriverError(Exception):
    """A call of the driver, and what it gave."""


class _Driver:
    """The few functions of the driver that are needed."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status == 0:
            return
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(status, ctypes.byref(text))
        raise DriverError(f"{name} gave {text.value.decode() if text.value else status}")


def _page_lock(driver: _Driver) -> None:
    """In a context of the first GPU that is given back at once."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    driver.call("cuDeviceGet", ctypes.byref(device), 0)
    driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    driver.call("cuCtxSetCurrent", context)
    memory = mmap.mmap(-1, PAGES)
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    driver.call("cuMemHostRegister_v2", address, ctypes.c_size_t(PAGES), ctypes.c_uint(0))
    driver.call("cuMemHostUnregister", address)


def look(report: Report) -> None:
    """In the child, so that no context stays in this process."""
    report("driver")
    try:
        driver = _Driver(ctypes.CDLL(DRIVER))
    except OSError:
        report("driver", there=False)
        return
    report("driver", there=True)
    count = ctypes.c_int()
    try:
        report("count")
        driver.call("cuInit", 0)
        driver.call("cuDeviceGetCount", ctypes.byref(count))
        report("count", count=count.value)
        report("lock")
        if count.value:
            _page_lock(driver)
        report("lock", locked=True)
    except DriverError as e:
        report("failed", error=str(e))


def _judge(outcome: child.Outcome) -> Line:
    found = outcome.found
    if not found.get("driver", {}).get("there", True):
        return Line("GPUs", NONE, f"no NVIDIA driver ({DRIVER}) is here")
    count = found.get("count", {}).get("count")
    why = found.get("failed", {}).get("error") or outcome.why
    if count is None:
        return Line("GPUs", BAD, f"the driver does not work: {why}", "nvidia-smi says more; docker run --gpus all")
    if count == 0:
        return Line("GPUs", NONE, "the driver sees none")
    if why:
        return Line(
            "GPUs",
            WARN,
            f"{count}; memory could not be page-locked: {why}",
            "copies into a GPU are slow: see memlock, docs/gpu.md",
        )
    return Line("GPUs", OK, f"{count}; memory can be page-locked for them")


def lines() -> List[Line]:
    return [_judge(child.run(look, silence_s=SILENCE_S))]

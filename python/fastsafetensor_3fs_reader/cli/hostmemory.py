# SPDX-License-Identifier: Apache-2.0
"""Memory to read into, with an address: without numpy."""

import ctypes
import mmap


class HostMemory:
    """Page-aligned bytes of this process. Not to be closed while a read into it is in progress."""

    def __init__(self, nbytes: int) -> None:
        self._map = mmap.mmap(-1, max(1, nbytes), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.nbytes = nbytes
        self.view = memoryview(self._map)
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)

    def close(self) -> None:
        del self._anchor
        self.view.release()
        self._map.close()

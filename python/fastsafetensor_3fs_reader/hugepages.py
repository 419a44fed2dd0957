# SPDX-License-Identifier: Apache-2.0
"""Host memory for tensors that we make."""

import sys
from collections import deque
from typing import Deque, Iterable, Iterator, Optional

from . import _core

#: From here on a tensor has huge pages of its own. What is smaller is better off in the framework's own memory.
LARGE = 2 << 20


def _references(objects: Iterable[object]) -> Iterator[int]:
    for thing in objects:
        yield sys.getrefcount(thing)


class HugePages:
    """Memory in huge pages. What one tensor has left another gets: fresh pages cost more than copying the bytes does.

    Remembers the last ``limit`` bytes that it gave, whether they are in use or not. Threads: one at a time; tensors may
    go on any.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._nbytes = limit, 0
        self._given: Deque[_core.Memory] = deque()

    def take(self, nbytes: int) -> Optional["_core.Memory"]:
        """Memory for a tensor of ``nbytes``, the tensor's until its last view is gone; None when it is small.

        It holds anything.
        """
        if nbytes < LARGE:
            return None
        memory = self._left(nbytes)
        if memory is None:
            memory = _core.alloc_host(nbytes)
            self._nbytes += nbytes
        self._given.append(memory)
        while self._given and self._nbytes > self._limit:
            self._nbytes -= len(self._given.popleft())
        return memory

    def _left(self, nbytes: int) -> Optional["_core.Memory"]:
        """Memory of this size that no tensor has any more, taken out of the list."""
        # What nobody but a deque has. Counted here and now: it depends on Python's version, and on debuggers and
        # profilers, which may hold one more.
        unused = next(_references(deque([object()])))
        for place, references in enumerate(_references(self._given)):
            if references == unused and len(self._given[place]) == nbytes:
                memory = self._given[place]
                del self._given[place]
                return memory
        return None

    def release(self) -> None:
        """What no tensor has is given back."""
        self._given.clear()
        self._nbytes = 0

# SPDX-License-Identifier: Apache-2.0
"""Host memory for tensors that we make."""

from typing import Optional

from . import _core

#: From here on a tensor has a huge page of its own. What is smaller is better off in the framework's own memory.
LARGE = 2 << 20


def large(nbytes: int) -> Optional["_core.Memory"]:
    """Memory in huge pages for a tensor of ``nbytes``, released with the last view of it; None when it is small."""
    return _core.alloc_host(nbytes) if nbytes >= LARGE else None

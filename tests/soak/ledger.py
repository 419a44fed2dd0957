# SPDX-License-Identifier: Apache-2.0
"""What a process holds while it reads nothing: fds, threads, memory, objects in /dev/shm."""

import contextlib
import ctypes
import gc
import os
from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

from support import open_fds, shm_objects, threads

MIB = 1 << 20
#: What memory may grow by between two quiet moments: small blocks of eight threads that lie scattered in their heaps,
#: and keep pages from going back, some MiB however long it runs. What leaks grows with the deeds: of 10,000 that each
#: forget 4 KiB it is 40 MiB.
GROWTH = 12 * MIB
M_MMAP_THRESHOLD = -3  # malloc.h


def make_malloc_give_back() -> None:
    """What is large becomes a mapping of its own, that goes when it is freed: a late write to it ends the process.

    Otherwise malloc raises the threshold by and by, and keeps for each thread what its heap once ended with.
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 64 << 10)


class Held(NamedTuple):
    """``memory`` is private: what is shared is in /dev/shm."""

    fds: List[str]
    threads: List[str]
    memory: int
    shm: List[str]


def _private_memory() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        fields: Dict[str, str] = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) * 1024


def _thread_names() -> List[str]:
    names = []
    for number in threads():
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            names.append(Path(f"/proc/self/task/{number}/comm").read_text(encoding="utf-8").strip())
    return sorted(names)


def take() -> Held:
    """Of this process; what malloc keeps though it is free goes back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    targets = sorted(fd.partition(": ")[2] for fd in open_fds())
    return Held(targets, _thread_names(), _private_memory(), sorted(shm_objects(os.getpid())))


def _more(before: List[str], after: List[str]) -> List[str]:
    return sorted((Counter(after) - Counter(before)).elements())


def is_back(before: Held, now: Held) -> bool:
    """Nothing is held any more but memory."""
    return not _more(before.fds, now.fds) and not _more(before.threads, now.threads) and not now.shm


def differences(before: Held, after: Held) -> List[str]:
    """In words, what ``after`` holds that ``before`` does not; nothing when all is well."""
    found = [
        f"{len(more)} more {what}: {', '.join(more)}"
        for what, more in (
            ("fds", _more(before.fds, after.fds)),
            ("threads", _more(before.threads, after.threads)),
            ("objects in /dev/shm", after.shm),
        )
        if more
    ]
    if after.memory - before.memory > GROWTH:
        grown = (after.memory - before.memory) / MIB
        found.append(f"{grown:.1f} MiB more memory, where {GROWTH / MIB:.0f} are allowed")
    return found


def table(names: Sequence[str], before: Sequence[Held], after: Sequence[Held]) -> str:
    """Both, a line for a process, for people."""
    lines = [f"{'':24} {'fds':>11} {'threads':>9} {'memory, MiB':>15} {'/dev/shm':>9}"]
    for name, old, new in zip(names, before, after):
        fds, count = f"{len(old.fds)} -> {len(new.fds)}", f"{len(old.threads)} -> {len(new.threads)}"
        memory, shm = f"{old.memory / MIB:.1f} -> {new.memory / MIB:.1f}", f"{len(old.shm)} -> {len(new.shm)}"
        lines.append(f"{name:24} {fds:>11} {count:>9} {memory:>15} {shm:>9}")
    return "\n".join(lines)

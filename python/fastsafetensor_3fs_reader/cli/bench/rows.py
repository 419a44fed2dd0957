# SPDX-License-Identifier: Apache-2.0
"""What is measured: a few settings of one process, several processes, and the ways beside."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from .. import child
from ..output import note
from . import worker
from .worker import KERNEL, MEMORY, NOWHERE

MIB = 1 << 20
SHM = "/dev/shm"
#: A file worth reading, and how many of them: enough to be more than caches hold, and few enough to name to a child.
ENOUGH = 16 * MIB
MOST_FILES = 500
MOST_NAMES = 60_000
#: How many are looked at.
MOST_LOOKS = 5000
#: What a child may be silent for, beyond what it measures.
SILENCE_S = 60.0
#: Until all children of a sample have begun: Python starts meanwhile.
LEAD_S, LEAD_EACH_S = 1.0, 0.25
TRIES = 4

#: Way -> how the table calls it.
WAYS: Dict[str, str] = {
    NOWHERE: "USRBIO, delivered nowhere",
    MEMORY: "USRBIO, into host memory",
    KERNEL: "the kernel, 16 MiB at a time",
}

Files = List[Tuple[str, int]]


class Plan(NamedTuple):
    way: str
    processes: int
    buffer_size: int
    entries: int


class Row(NamedTuple):
    """One plan and what came of it: bytes a second, and all processes' CPU seconds."""

    way: str
    processes: int
    buffer_size: int
    entries: int
    rate: float
    nbytes: int
    cpu_s: float
    requests: int
    window: int


DEFAULT_BUFFER, DEFAULT_ENTRIES = 64 * MIB, 64
PLANS = (
    Plan(NOWHERE, 1, 8 * MIB, 64),
    Plan(NOWHERE, 1, 16 * MIB, 64),
    Plan(NOWHERE, 1, DEFAULT_BUFFER, DEFAULT_ENTRIES),
    Plan(NOWHERE, 1, 256 * MIB, 256),
    Plan(NOWHERE, 4, DEFAULT_BUFFER, DEFAULT_ENTRIES),
    Plan(NOWHERE, 8, DEFAULT_BUFFER, DEFAULT_ENTRIES),
    Plan(MEMORY, 1, DEFAULT_BUFFER, DEFAULT_ENTRIES),
    Plan(KERNEL, 1, 16 * MIB, 1),
)


def _look(folder: str) -> Iterator[Tuple[str, int]]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if os.path.isfile(path):
                yield path, os.path.getsize(path)


def find_files(path: str) -> Files:
    """The file itself, or those below the folder that are worth it: (path, size)."""
    found = list(islice(_look(path), MOST_LOOKS)) if os.path.isdir(path) else [(path, os.path.getsize(path))]
    worth = [entry for entry in found if entry[1] >= ENOUGH] or [entry for entry in found if entry[1] > 0]
    if not worth:
        raise ValueError(f"{path}: no file to read is there")
    names = accumulate(len(os.fsencode(file)) for file, _ in worth)
    return [entry for entry, so_far in zip(worth[:MOST_FILES], names) if so_far <= MOST_NAMES]


# ------------------------------------------------------------------ one sample


def _run_together(plan: Plan, mount: str, files: Files, seconds: float, lead: float) -> List[child.Outcome]:
    start = time.monotonic() + lead

    def one(number: int) -> child.Outcome:
        job = {**plan._asdict(), "mount": mount, "files": files, "seconds": seconds, "start": start, "number": number}
        return child.run(worker.work, job, silence_s=SILENCE_S + lead + seconds)

    with ThreadPoolExecutor(plan.processes) as pool:
        return list(pool.map(one, range(plan.processes)))


def _row(plan: Plan, outcomes: Sequence[child.Outcome]) -> Row:
    done = [outcome.found["done"] for outcome in outcomes]
    return Row(
        *plan,
        rate=sum(d["nbytes"] / d["seconds"] for d in done),
        nbytes=sum(d["nbytes"] for d in done),
        cpu_s=sum(d["cpu_s"] for d in done),
        requests=sum(d["requests"] for d in done),
        window=done[0]["window"],
    )


def _sample(plan: Plan, mount: str, files: Files, seconds: float) -> Row:
    """Again, with more time to begin, when not all children were there at the start."""
    lead = LEAD_S + LEAD_EACH_S * plan.processes
    for _ in range(TRIES):
        outcomes = _run_together(plan, mount, files, seconds, lead)
        for outcome in outcomes:
            error = outcome.found.get("failed", {}).get("error") or outcome.why
            if error:
                raise OSError(f"a process of the benchmark: {error}")
        if not any(outcome.found["done"]["late"] for outcome in outcomes):
            return _row(plan, outcomes)
        lead *= 2
    raise OSError("this machine is too busy to measure on: the benchmark's processes do not begin in time")


def _fits(plan: Plan) -> bool:
    shm = os.statvfs(SHM)
    return plan.way == KERNEL or plan.processes * plan.buffer_size * 1.1 < shm.f_bavail * shm.f_frsize


def measure(mount: str, files: Files, seconds: float) -> List[Row]:
    """Every plan that fits into /dev/shm."""
    measured = []
    for plan in PLANS:
        what = f"{WAYS[plan.way]}, {plan.processes} processes, {plan.buffer_size >> 20} MiB"
        if not _fits(plan):
            note(f"left out, {SHM} is too small: {what}")
            continue
        note(what)
        measured.append(_sample(plan, mount, files, seconds))
    if not measured or measured[0].way == KERNEL:
        raise OSError(f"{SHM} is too small for any reader; fst3fs doctor says more")
    return measured

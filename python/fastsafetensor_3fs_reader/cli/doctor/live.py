# SPDX-License-Identifier: Apache-2.0
"""In the child: everything that touches a mount, step by step."""

import errno
import os
import statistics
import time
from functools import partial
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ...backend import create_reader, extract_mount_point
from ...interface import FileReaderInterface
from ...stats import Stats
from ..child import Report

MIB = 1 << 20
#: How long the real read takes.
READ_S = 0.1
#: One call of the reader meanwhile.
STEP = 64 * MIB
SMALL = 4096
SMALL_READS = 5
#: A file worth reading, and how long one is looked for.
ENOUGH = 16 * MIB
LOOK_S = 1.0
#: Of the reader that is made here. The parent waits longer.
TIMEOUT_S = 3.0


def _timed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


# ------------------------------------------------------------------ the steps


def _ask(mount: str) -> str:
    """Asks the daemon for something that no kernel cache answers; where it is told of requests."""
    return os.readlink(os.path.join(mount, "3fs-virt", "iovs", "submit-ios"))


def _files(folder: str, deadline: float) -> Iterator[Tuple[int, str]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                yield os.stat(path).st_size, path
            except OSError:
                continue
            if time.monotonic() > deadline:
                return


def _something_to_read(path: str) -> Tuple[int, str]:
    """The file itself, or a large one below the folder; ``(0, "")`` when there is none."""
    if not os.path.isdir(path):
        return os.path.getsize(path), path
    best = (0, "")
    for found in _files(path, time.monotonic() + LOOK_S):
        best = max(best, found)
        if best[0] >= ENOUGH:
            break
    return best


def _latency(reader: FileReaderInterface, file: str, size: int) -> float:
    """Of one small request at a time, at different places: the median."""
    small = min(SMALL, size)
    places = [(size - small) * i // SMALL_READS for i in range(SMALL_READS)]
    return statistics.median(_timed(partial(reader.read_chunked, file, 0, at, small)) for at in places)


def _rate(reader: FileReaderInterface, file: str, size: int) -> Tuple[int, float]:
    """Bytes and seconds of reading on and on, round and round the file."""
    start, done, at = time.monotonic(), 0, 0
    while time.monotonic() < start + READ_S:
        done += reader.read_chunked(file, 0, at, STEP)
        at = at + STEP if at + STEP < size else 0
    return done, time.monotonic() - start


def _counted(reader: FileReaderInterface) -> Optional[Stats]:
    """None when the backend counts nothing."""
    stats: Callable[[], Optional[Stats]] = getattr(reader, "stats", lambda: None)
    return stats()


def _read(report: Report, reader: FileReaderInterface, path: str) -> None:
    report("read")
    size, file = _something_to_read(path)
    if size == 0:
        report("read", file="")
        return
    alone_s = _latency(reader, file, size)
    before = _counted(reader)
    nbytes, seconds = _rate(reader, file, size)
    found: Dict[str, object] = {"file": file, "size": size, "alone_s": alone_s, "nbytes": nbytes, "seconds": seconds}
    now = _counted(reader)
    if before is not None and now is not None:
        counted = now.since(before)
        found.update(in_flight=counted.in_flight_average, latency_us=counted.latency_average_us)
    report("read", **found)


def _use(report: Report, mount: str, path: str) -> None:
    report("register")
    start = time.monotonic()
    with create_reader(mount_point=mount, buffer_size=STEP, require="usrbio", timeout=TIMEOUT_S) as reader:
        report("register", seconds=time.monotonic() - start, buffer_size=STEP)
        _read(report, reader, path)


def _steps(report: Report, path: str) -> None:
    report("resolve")
    real = os.path.realpath(path)
    os.stat(real)
    report("resolve", real=real, mount=extract_mount_point(real))
    mount = extract_mount_point(real)
    if not mount:
        return
    report("answer")
    answers: List[str] = []
    seconds = _timed(lambda: answers.append(_ask(mount)))
    report("answer", seconds=seconds, semaphore=answers[0], shared=os.path.exists(answers[0]))
    if os.path.exists(answers[0]):
        _use(report, mount, real)


def look(report: Report, path: str) -> None:
    """Goes as far as it can. What stops it is reported as ``failed``."""
    try:
        _steps(report, path)
    except (OSError, ValueError, RuntimeError) as e:
        code = errno.errorcode.get(getattr(e, "errno", None) or 0, "")
        report("failed", error=str(e), code=code)

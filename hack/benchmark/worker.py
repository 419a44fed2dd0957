# SPDX-License-Identifier: Apache-2.0
"""One process of a sample: it makes a reader of its own, says that it is ready, waits for the start, reads its share.

It talks to the runner through a pipe, so that a process that dies is an end of file there and not a barrier that is
never reached.
"""

import contextlib
import hashlib
import resource
import time
from multiprocessing.connection import Connection
from typing import Callable, Dict, NamedTuple, Sequence, Tuple, Union

import cache
import dest
from grid import WARMUP_BYTES, Range, Run
from ways import DEFAULT_BUFFER, Reading, Settings, Way


class Job(NamedTuple):
    """What one process is to do."""

    run: Run
    way: Way
    share: Tuple[Range, ...]
    mount_point: str
    dest: str
    warmup: int


class Ready(NamedTuple):
    """The reader is made, and its share is not in the kernel's cache, but for this part of it."""

    make_s: float
    resident: float


class Done(NamedTuple):
    """The share was read. Times are of CLOCK_MONOTONIC, which all processes share."""

    start: float
    end: float
    nbytes: int
    files: int
    cpu_s: float
    info: Dict[str, object]


class Verified(NamedTuple):
    """SHA-256 of the bytes that a way delivered, in order."""

    digest: str


class Failed(NamedTuple):
    text: str


class Start(NamedTuple):
    """All are ready: begin at this time of CLOCK_MONOTONIC."""

    at: float


Message = Union[Ready, Done, Verified, Failed]


def _cpu_s() -> float:
    """Of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _make(job: Job) -> Tuple[Reading, float]:
    """The way at work, and the seconds that its reader took to make."""
    reading = job.way.load()
    largest = max((r.length for r in job.share), default=0) if job.run.op == "read_chunked" else 0
    target = dest.make(job.dest, largest)
    before = time.monotonic()
    try:
        settings = Settings(job.way.name, job.mount_point, job.run.buffer or DEFAULT_BUFFER, job.run.chunk, target)
        return reading(settings), time.monotonic() - before
    except BaseException:
        target.close()
        raise


def _read_all(reading: Reading, share: Sequence[Range]) -> int:
    done = 0
    for path, offset, length in share:
        got = reading.read(path, offset, length)
        if got != length:
            raise OSError(f"{path}: {got} of {length} bytes at {offset}")
        done += got
    return done


def _warm(reading: Reading, job: Job) -> None:
    """Reads a little of the share, whole files where a way knows no others."""
    if job.way.whole_files:
        _read_all(reading, job.share[:1])
        return
    left = WARMUP_BYTES
    for path, offset, length in job.share:
        take = min(left, length)
        if take:
            _read_all(reading, [Range(path, offset, take)])
        left -= take


def _work(reading: Reading, job: Job) -> int:
    """What is measured: bytes of tensors, or of headers in one batch."""
    if job.run.op == "headers_batch":
        return reading.headers([r.path for r in job.share], job.run.threads)
    return _read_all(reading, job.share)


def _wait_until(at: float) -> None:
    delay = at - time.monotonic()
    if delay > 0:
        time.sleep(delay)


def _measure(job: Job, pipe: "Connection[Message, Start]") -> Done:
    reading, make_s = _make(job)
    try:
        if job.run.op == "read_chunked":
            for _ in range(job.warmup):
                _warm(reading, job)
        pipe.send(Ready(make_s, cache.drop({r.path for r in job.share})))
        start = pipe.recv().at
        _wait_until(start)
        cpu = _cpu_s()
        nbytes = _work(reading, job)
        return Done(start, time.monotonic(), nbytes, len(job.share), _cpu_s() - cpu, reading.info())
    finally:
        reading.close()


def _answer(pipe: "Connection[Message, Start]", work: Callable[[], Message]) -> None:
    """Sends what ``work`` gives, or why it gives nothing. When the runner is gone there is nobody to tell."""
    try:
        answer = work()
    except EOFError:
        return
    except BaseException as e:
        answer = Failed(f"{type(e).__name__}: {e}")
    with contextlib.suppress(BrokenPipeError):
        pipe.send(answer)


def measure(job: Job, pipe: "Connection[Message, Start]") -> None:
    """Entry point of a worker process."""
    _answer(pipe, lambda: _measure(job, pipe))


def _verify(job: Job) -> Verified:
    reading, _ = _make(job)
    digest = hashlib.sha256()
    try:
        for item in job.share:
            _read_all(reading, [item])
            digest.update(reading.delivered(item.length))
        return Verified(digest.hexdigest())
    finally:
        reading.close()


def verify(job: Job, pipe: "Connection[Message, Start]") -> None:
    """Entry point of a worker process that shows what a way delivers."""
    _answer(pipe, lambda: _verify(job))

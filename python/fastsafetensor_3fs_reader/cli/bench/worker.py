# SPDX-License-Identifier: Apache-2.0
"""In a child: one process of a sample reads on and on, round and round the files."""

import os
import time
from contextlib import closing
from typing import Any, Callable, Dict, Iterator, List, Tuple

from ...backend import create_reader
from ...interface import FileReaderInterface
from ..child import Report
from ..hostmemory import HostMemory

MIB = 1 << 20
NOWHERE, MEMORY, KERNEL = "nowhere", "memory", "kernel"
#: One range of a call of the reader; a call has ranges for this long, so that the window seldom runs empty.
RANGE = 64 * MIB
CALL_S = 0.5
#: Larger than the caches of processors.
TARGET = 256 * MIB
#: One call of the kernel.
PLAIN = 16 * MIB
TIMEOUT_S = 20.0

Job = Dict[str, Any]
Ranges = Iterator[Tuple[str, int, int]]


def _ranges(job: Job, size: int) -> Ranges:
    """(path, offset, length) for ever, each process beginning somewhere else."""
    all_ranges = [(path, at, min(size, nbytes - at)) for path, nbytes in job["files"] for at in range(0, nbytes, size)]
    number = len(all_ranges) * job["number"] // job["processes"]
    while True:
        yield all_ranges[number % len(all_ranges)]
        number += 1


def _go_on(job: Job, read: Callable[[float], int]) -> Dict[str, object]:
    """Calls ``read(rate so far)`` from the common start on, as long as asked."""
    late = time.monotonic() > job["start"]
    time.sleep(max(0.0, job["start"] - time.monotonic()))
    begun, cpu, done = time.monotonic(), time.process_time(), 0
    end = begun + job["seconds"]
    while time.monotonic() < end:
        done += read(done / max(time.monotonic() - begun, 1e-3))
    return {
        "nbytes": done,
        "seconds": time.monotonic() - begun,
        "cpu_s": time.process_time() - cpu,
        "late": late,
    }


# ------------------------------------------------------------------ the ways


def _read_many(reader: FileReaderInterface, job: Job, address: int) -> Dict[str, object]:
    ranges = _ranges(job, RANGE)

    def call(rate: float) -> int:
        requests: List[Tuple[str, int, int, int]] = []
        nbytes = 0
        while nbytes < max(rate * min(CALL_S, job["seconds"]), 1):
            path, offset, length = next(ranges)
            target = address + nbytes % TARGET // RANGE * RANGE if address else 0
            requests.append((path, target, offset, length))
            nbytes += length
        return sum(reader.read_many(requests))

    reader.read_many([(path, 0, 0, 1) for path, _ in job["files"]])  # which opens them
    before = reader.info()
    done = _go_on(job, call)
    now = reader.info()
    if now.get("bytes_posix") != before.get("bytes_posix"):
        raise OSError("bytes did not come through USRBIO")
    requests = int(str(now.get("requests", 0))) - int(str(before.get("requests", 0)))
    return {**done, "requests": requests, "window": now.get("window", 0)}


def _usrbio(job: Job) -> Dict[str, object]:
    settings = {name: job[name] for name in ("buffer_size", "entries")}
    with create_reader(mount_point=job["mount"], require="usrbio", timeout=TIMEOUT_S, **settings) as reader:
        if job["way"] == NOWHERE:
            return _read_many(reader, job, 0)
        with closing(HostMemory(TARGET)) as memory:
            memory.view[:: os.sysconf("SC_PAGE_SIZE")] = bytes(TARGET // os.sysconf("SC_PAGE_SIZE"))  # pages are there
            return _read_many(reader, job, memory.address)


def _kernel(job: Job) -> Dict[str, object]:
    ranges = _ranges(job, PLAIN)
    count = 0

    def call(rate: float) -> int:
        nonlocal count
        path, offset, length = next(ranges)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # What it has kept is not what is measured.
            os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
            count += 1
            return os.preadv(fd, [memory.view[:length]], offset)
        finally:
            os.close(fd)

    with closing(HostMemory(PLAIN)) as memory:
        return {**_go_on(job, call), "requests": count, "window": 1}


def work(report: Report, job: Job) -> None:
    report("read")
    try:
        report("done", **(_kernel(job) if job["way"] == KERNEL else _usrbio(job)))
    except (OSError, ValueError, RuntimeError) as e:
        report("failed", error=str(e))

# SPDX-License-Identifier: Apache-2.0
"""Rows of targets.py about memory that nobody has touched: into it, and what it costs by itself.

Each sample finds memory that the kernel has had in use a moment ago.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Sequence

from checkpoints import Spec
from loaders import in_process
from measure import (
    MIB,
    HostMemory,
    Run,
    fresh_memory,
    in_turn,
    make_reader,
    median_rate,
    read_files,
    recently_used,
    spread,
    timed,
)
from rows import MB, Place, Plan, Row, Rows, real_files
from serve import NO_LINK, Link
from tensor_rows import checkpoint, job_of, with_torch

from fastsafetensor_3fs_reader.reader_c import ThreeFSFileReader

#: Where `meson compile` leaves what populates memory and does nothing else.
PAGES = Path(__file__).resolve().parents[2] / "build" / "hack" / "benchmark" / "pages"
HOST_LINK = Link(latency_us=500, bandwidth_mbps=4000, job_mbps=500)
FILE_BYTES = 512 * MIB


def populate(kind: str, nbytes: int) -> Run:
    """Memory put there by all processors: "private", "huge" or "shared"."""
    done = subprocess.run([str(PAGES), kind, str(nbytes)], capture_output=True, text=True, check=True)
    return Run(nbytes, float(done.stdout), 0.0)


def _bare(kind: str, nbytes: int) -> Run:
    recently_used(nbytes)
    return populate(kind, nbytes)


def _together(runs: Sequence[Run]) -> Run:
    return Run(sum(r.nbytes for r in runs), sum(r.seconds for r in runs), sum(r.cpu_seconds for r in runs))


def _each(place: Place, into: Callable[[str, int], Run]) -> Run:
    """Every file into memory of its own."""
    runs = []
    for path in place.paths:
        size = os.stat(path).st_size
        recently_used(size)
        runs.append(into(path, size))
    return _together(runs)


def _private(reader: ThreeFSFileReader) -> Callable[[str, int], Run]:
    def read(path: str, size: int) -> Run:
        with fresh_memory(size) as address:
            return timed(lambda: reader.read_chunked(path, address, 0, size))

    return read


def _allocated(reader: ThreeFSFileReader) -> Callable[[str, int], Run]:
    """The making of it counts."""

    def make_and_read(path: str, size: int) -> int:
        memory = reader.alloc(size)
        return reader.read_chunked(path, memory.address, 0, size)

    return lambda path, size: timed(lambda: make_and_read(path, size))


# ------------------------------------------------------------------ the caller's, and alloc's


def into_fresh_memory(plan: Plan) -> Rows:
    """Without a link, and over one of 4 GB/s."""
    for link, name in ((NO_LINK, "no"), (HOST_LINK, "4-GB/s")):
        with real_files(link) as place, make_reader(place.mount_point) as reader:
            yield from _callers(plan, place, reader, name)
            yield from _allocs(plan, place, reader, name)


def _callers(plan: Plan, place: Place, reader: ThreeFSFileReader, name: str) -> Rows:
    used = HostMemory(FILE_BYTES)
    before = reader.info()
    ours, again, bare = in_turn(
        plan.iterations,
        lambda: _each(place, _private(reader)),
        lambda: read_files(reader, place.paths, used.address),
        lambda: _bare("private", FILE_BYTES),
    )
    best = min(median_rate(again), median_rate(bare))
    detail = f"{spread(ours)}; used before {spread(again)}; bare populate {spread(bare)}"
    yield Row(
        f"fresh memory / min(used before, bare populate), {name} link", median_rate(ours) / best, 0.90, detail=detail
    )
    made = {key: reader.info()[key] - before[key] for key in ("populated", "populated_huge")}  # type: ignore[operator]
    share = made["populated"] / sum(run.nbytes for run in ours)
    detail = f"{made['populated_huge'] / max(1, made['populated']):.2f} of it in huge pages"
    yield Row("  share made resident ahead of the bytes", share, None, detail=detail)


def _allocs(plan: Plan, place: Place, reader: ThreeFSFileReader, name: str) -> Rows:
    ours, nowhere, bare = in_turn(
        plan.iterations,
        lambda: _each(place, _allocated(reader)),
        lambda: read_files(reader, place.paths),
        lambda: _bare("shared", FILE_BYTES),
    )
    best = min(median_rate(nowhere), median_rate(bare))
    detail = f"{spread(ours)}; download only {spread(nowhere)}; bare populate {spread(bare)}"
    yield Row(
        f"fresh alloc / min(download only, bare populate), {name} link", median_rate(ours) / best, 0.90, detail=detail
    )


# ------------------------------------------------------------------ tensors


@with_torch("safe_open into fresh host tensors")
def fresh_tensors(plan: Plan) -> Rows:
    """Tensors of 64 MB that all stay, as a model's do, or are dropped as the next ones come."""
    shards = [[Spec(f"{shard}.{at}", "BF16", (32 * MB,)) for at in range(8)] for shard in range(8)]
    for link, name in ((NO_LINK, "no"), (HOST_LINK, "4-GB/s")):
        with checkpoint(shards, link, sparse=False) as place, make_reader(place.mount_point) as reader:
            yield from _tensors(plan, place, reader, name)


def _tensors(plan: Plan, place: Place, reader: ThreeFSFileReader, name: str) -> Rows:
    used = HostMemory(max(os.stat(path).st_size for path in place.paths))
    kept, dropped, again, bare = in_turn(
        plan.iterations,
        lambda: in_process(job_of(place)._replace(keep=True)).run,
        lambda: in_process(job_of(place)).run,
        lambda: read_files(reader, place.paths, used.address),
        lambda: _bare("huge", FILE_BYTES),
    )
    best = min(median_rate(again), median_rate(bare))
    detail = f"{spread(kept)}; used before {spread(again)}; bare populate {spread(bare)}"
    yield Row(
        f"safe_open, fresh tensors that stay / the same, {name} link", median_rate(kept) / best, 0.90, detail=detail
    )
    yield Row("  ... that are dropped", median_rate(dropped) / best, 0.90, detail=spread(dropped))


# ------------------------------------------------------------------ what it costs where it is not needed


def resident_memory(plan: Plan) -> Rows:
    """The same memory again and again, with looking ahead and without."""
    with real_files(HOST_LINK._replace(bandwidth_mbps=0, job_mbps=0, latency_us=0)) as place:
        used = HostMemory(FILE_BYTES)
        with make_reader(place.mount_point) as ahead, make_reader(place.mount_point, populate="off") as plain:
            on, off = in_turn(
                3 * plan.iterations,
                lambda: read_files(ahead, place.paths, used.address),
                lambda: read_files(plain, place.paths, used.address),
            )
            assert ahead.info()["populated"] == 0, ahead.info()
    detail = f"{spread(on)}; without {spread(off)}"
    ratio = median_rate(off) / median_rate(on)
    yield Row("memory used before, without looking ahead / with it", ratio, 1.02, at_most=True, detail=detail)
    cpu = [statistics.median(run.cpu_seconds for run in runs) for runs in (on, off)]
    yield Row("  CPU seconds, with it / without", cpu[0] / cpu[1], None)


# ------------------------------------------------------------------ a reader's first byte

FIRST = """
import sys, time
from fastsafetensor_3fs_reader.reader_c import ThreeFSFileReader
mount, path = sys.argv[1:3]
memory = bytearray(4096)
import ctypes
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    reader = ThreeFSFileReader(mount, require="usrbio", usrbio="builtin", buffer_size=64 << 20)
    assert reader.read_chunked(path, address, 0, 1) == 1
    print(time.perf_counter() - start)
    reader.close()
"""


def first_byte(plan: Plan) -> Rows:
    """A reader made and one byte delivered, against the same with the small pages that shared memory has otherwise."""
    with real_files(NO_LINK, 1, MIB) as place:

        def ours(*prefix: str) -> Iterator[float]:
            recently_used(256 * MIB)
            command = [*prefix, sys.executable, "-c", FIRST, place.mount_point, place.paths[0], "5"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return map(float, done.stdout.split())

        huge: List[float] = []
        small: List[float] = []
        for _ in range(plan.iterations):
            huge += ours()
            small += ours(str(PAGES), "small")
    detail = f"{statistics.median(huge) * 1e3:.1f} ms, {statistics.median(small) * 1e3:.1f} ms"
    ratio = statistics.median(huge) / statistics.median(small)
    yield Row("reader made and first byte, 64 MiB / in small pages", ratio, 0.5, at_most=True, detail=detail)


SETS = {
    "fresh": into_fresh_memory,
    "fresh-tensors": fresh_tensors,
    "resident": resident_memory,
    "first-byte": first_byte,
}

# SPDX-License-Identifier: Apache-2.0
"""Which combinations a sweep measures, which it leaves out and why, and about how long it takes."""

from collections import Counter
from itertools import product
from typing import Iterator, List, NamedTuple, Sequence, Tuple

from args import Options
from serve import MIB, Link
from ways import Way

START_S = 0.6  # to start the processes of one sample and make their readers
ASSUMED_BYTES_PER_S = 2e9  # where no link is simulated
WARMUP_BYTES = 64 * MIB  # of its share, that a process reads in one round before the clock runs

# ------------------------------------------------------------------ what is read


class Range(NamedTuple):
    """A part of a file, for one process."""

    path: str
    offset: int
    length: int


def _split(files: Sequence[Range], parts: int) -> List[List[Range]]:
    """Even shares of consecutive bytes, cut at whole MiB of a file, where chunks of 3FS end."""
    shares: List[List[Range]] = [[] for _ in range(parts)]
    total = sum(file.length for file in files)
    borders = [part * total // parts for part in range(1, parts)]
    begin = 0
    for path, offset, length in files:
        part = sum(border <= begin for border in borders)
        inside = [border - begin for border in borders if begin < border < begin + length]
        cuts = [0, *(max(0, (offset + at) // MIB * MIB - offset) for at in inside), length]
        for number, (start, end) in enumerate(zip(cuts, cuts[1:])):
            if end > start:
                shares[part + number].append(Range(path, offset + start, end - start))
        begin += length
    return shares


def shares(files: Sequence[Range], processes: int, whole_files: bool) -> List[List[Range]]:
    """What each process reads. With few bytes, or files, some have nothing to do."""
    if not whole_files:
        return _split(files, processes)
    parts: List[List[Range]] = [[] for _ in range(processes)]
    for file in sorted(files, key=lambda f: -f.length):
        min(parts, key=lambda part: sum(r.length for r in part)).append(file)
    return parts


# ------------------------------------------------------------------ combinations


class Run(NamedTuple):
    """One row of the results. Zero where a parameter has no meaning for the way."""

    op: str
    way: str
    processes: int
    buffer: int = 0
    chunk: int = 0
    batch: int = 0
    threads: int = 0

    def label(self) -> str:
        parts = [
            self.way,
            f"buffer {self.buffer / MIB:g} MiB" if self.buffer else "",
            (f"chunk {self.chunk / MIB:g} MiB" if self.chunk else "chunk auto") if self.buffer else "",
            f"batches of {self.batch}" if self.batch else "",
            f"{self.threads} threads" if self.threads else "",
            f"{self.processes} process{'es' if self.processes > 1 else ''}",
        ]
        return ", ".join(part for part in parts if part)


class Grid(NamedTuple):
    runs: List[Run]
    skipped: "Counter[str]"


def _sizes(way: Way, options: Options, skipped: "Counter[str]") -> Iterator[Tuple[int, int]]:
    """(buffer, chunk) of a way. Peers that have a buffer use all of it for one request."""
    given = options.chunks
    every = [(b, c) for b in options.buffers for c in ([b] if given is None else given)]
    if not way.sizes:
        skipped[f"sizes mean nothing to {way.name}"] += len(every) - 1
        yield 0, 0
    elif way.peer:
        yield from ((buffer, buffer) for buffer in options.buffers)
    else:
        sensible = [(b, c) for b, c in every if c <= b]
        skipped["chunk larger than buffer"] += len(every) - len(sensible)
        yield from sensible


def _reads(ways: Sequence[Way], options: Options, files: int, skipped: "Counter[str]") -> Iterator[Run]:
    for processes, way in product(options.processes, ways):
        if options.dest == "cuda" and not way.reaches_gpu:
            skipped[f"{way.name} does not reach a GPU"] += 1
            continue
        if way.whole_files and processes > files:
            skipped[f"{way.name} reads whole files, of which there are fewer than processes"] += 1
            continue
        for buffer, chunk in _sizes(way, options, skipped):
            yield Run("read_chunked", way.name, processes, buffer, chunk)


def _headers(ways: Sequence[Way], options: Options, files: int, skipped: "Counter[str]") -> Iterator[Run]:
    for processes, way, batch, threads in product(options.processes, ways, options.batches, options.threads):
        if not way.headers:
            skipped[f"{way.name} has no batches of headers"] += 1
        elif batch * processes > files and batch != min(options.batches):
            skipped["more headers in a batch than there are files for a process"] += 1
        else:
            yield Run("headers_batch", way.name, processes, batch=batch, threads=threads)


def build(options: Options, ways: Sequence[Way], files: int, header_files: int) -> Grid:
    """The combinations of the options, in the order in which they run, for so many files to read."""
    if options.single:
        options = options._replace(
            buffers=options.buffers[:1],
            chunks=None if options.chunks is None else options.chunks[:1],
            processes=options.processes[:1],
            batches=options.batches[:1],
            threads=options.threads[:1],
        )
    skipped: Counter[str] = Counter()
    runs: List[Run] = []
    if "read_chunked" in options.ops:
        runs += _reads(ways, options, files, skipped)
    if "headers_batch" in options.ops:
        runs += _headers(ways, options, header_files, skipped)
    return Grid(runs, +skipped)


# ------------------------------------------------------------------ time


def _bytes_per_s(way: Way, processes: int, link: Link) -> float:
    """A guess from the link: one request at a time gets what one job gets."""
    bandwidth = link.bandwidth_mbps * 1e6 or ASSUMED_BYTES_PER_S
    if way.one_at_a_time and link.job_mbps:
        return min(bandwidth, processes * link.job_mbps * 1e6)
    return bandwidth


def estimate_s(grid: Grid, options: Options, ways: Sequence[Way], total: int) -> float:
    """About how long the sweep takes."""
    by_name = {way.name: way for way in ways}
    seconds = 0.0
    for run in grid.runs:
        way = by_name[run.way]
        nbytes = 0 if run.op == "headers_batch" else total + options.warmup * run.processes * WARMUP_BYTES
        seconds += way.start_s * run.processes + START_S
        seconds += nbytes / _bytes_per_s(way, run.processes, options.link)
    return seconds * options.iterations

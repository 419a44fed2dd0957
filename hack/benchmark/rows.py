# SPDX-License-Identifier: Apache-2.0
"""The rows of targets.py: each measures one promise, as a ratio of two things measured in turn on the same mount."""

import os
import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence

from measure import (
    MIB,
    HostMemory,
    Run,
    best_window,
    in_turn,
    make_reader,
    median_rate,
    read_files,
    read_in_processes,
    spread,
    timed,
    window,
)
from serve import GIB, LINK, NO_LINK, Link, Served, generate, scratch, serve

MB = 10**6


class Row(NamedTuple):
    """One line of the table. Without a target it is there to be known, without a ratio it says why there is none."""

    name: str
    ratio: Optional[float]
    target: Optional[float]
    at_most: bool = False  # the target is an upper bound
    detail: str = ""

    @property
    def met(self) -> Optional[bool]:
        if self.target is None or self.ratio is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


class Plan(NamedTuple):
    """How much is done for each row."""

    iterations: int
    say: Callable[[str], None]


Rows = Iterator[Row]

# ------------------------------------------------------------------ where the files are


class Place(NamedTuple):
    """Files on a mount, and what its link carries."""

    mount_point: str
    paths: List[str]
    link_rate: float  # bytes a second


@contextmanager
def sparse_files(link: Link, count: int = 8, size: int = GIB, *options: str) -> Iterator[Place]:
    with scratch() as folder, serve(folder, link, *options) as served:
        yield served_place(served, generate(folder, count, size, sparse=True))


@contextmanager
def real_files(link: Link = NO_LINK, count: int = 4, size: int = 512 * MIB) -> Iterator[Place]:
    with scratch() as folder, serve(folder, link) as served:
        yield served_place(served, generate(folder, count, size))


def served_place(served: Served, names: Sequence[str]) -> Place:
    return Place(served.mount_point, [served.path(name) for name in names], served.link.bandwidth_mbps * MB)


def _passes(plan: Plan, place: Place, **settings: int) -> List[Run]:
    with make_reader(place.mount_point, **settings) as reader:
        return [read_files(reader, place.paths) for _ in range(plan.iterations)]


# ------------------------------------------------------------------ the simulated link


def link_defaults(plan: Plan) -> Rows:
    """The window, its CPU, and threads, on one link."""
    with sparse_files(LINK) as place:
        runs = _passes(plan, place)
        yield Row("LINK, defaults (64 MiB)", median_rate(runs) / place.link_rate, 0.985, detail=spread(runs))
        cpu = sorted(run.cpu_seconds / run.nbytes * 1e9 for run in runs)[len(runs) // 2]
        yield Row("client CPU seconds per GB, LINK, defaults", cpu, 0.010, at_most=True)
        yield _together(plan, place)
        for buffer, target in ((16, 0.97), (8, 0.95)):
            runs = _passes(plan, place, buffer_size=buffer * MIB)
            ratio = median_rate(runs) / place.link_rate
            yield Row(f"LINK, {buffer} MiB buffer", ratio, target, detail=spread(runs))
        for depth in (0, 1, 4, 64, -8):
            runs = _passes(plan, place, io_depth=depth)
            yield Row(f"LINK, io_depth={depth}", median_rate(runs) / place.link_rate, 0.97, detail=spread(runs))
        yield _two_threads(plan, place)
        yield from _processes(plan, place, "LINK", [[path] * 2 for path in place.paths])


def _together(plan: Plan, place: Place) -> Row:
    requests = [(path, 0, 0, os.stat(path).st_size) for path in place.paths]
    with make_reader(place.mount_point) as reader:
        runs = [timed(lambda: sum(reader.read_many(requests))) for _ in range(plan.iterations)]
    return Row("LINK, defaults, read_many", median_rate(runs) / place.link_rate, None, detail=spread(runs))


def _two_threads(plan: Plan, place: Place) -> Row:
    with make_reader(place.mount_point) as reader:

        def two() -> int:
            read: List[Run] = []
            halves = place.paths[::2], place.paths[1::2]
            threads = [threading.Thread(target=lambda h=h: read.append(read_files(reader, h))) for h in halves]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sum(run.nbytes for run in read)

        one, both = in_turn(plan.iterations, lambda: read_files(reader, place.paths), lambda: timed(two))
    ratio = median_rate(both) / median_rate(one)
    return Row("two threads on one reader / one thread, LINK", ratio, 0.98, detail=spread(both))


def _processes(plan: Plan, place: Place, link: str, shares: Sequence[Sequence[str]]) -> Rows:
    """Each share in a process of its own, with a buffer of 16 MiB."""
    together, fairness = [], []
    for _ in range(plan.iterations):
        whole, each = read_in_processes(place.mount_point, 16 * MIB, shares)
        together.append(whole)
        fairness.append(min(run.rate for run in each) / max(run.rate for run in each))
    ratio = median_rate(together) / place.link_rate
    yield Row(f"{link}, {len(shares)} processes of 16 MiB, together", ratio, 0.97, detail=spread(together))
    detail = " ".join(f"{sample:.3f}" for sample in fairness)
    yield Row(
        f"{link}, {len(shares)} processes, slowest / fastest", sorted(fairness)[len(fairness) // 2], 0.85, detail=detail
    )


def fair(plan: Plan) -> Rows:
    """LINK with the limits that a 3FS daemon has for a node: many processes share them."""
    with sparse_files(LINK, 24, GIB, "--host-limit=32", "--server-limit=8") as place:
        shares = [[path] for path in place.paths]
        yield from _processes(plan, place, "LIMITS", shares)


def link_jitter(plan: Plan) -> Rows:
    with sparse_files(LINK._replace(jitter_us=4000)) as place:
        runs = _passes(plan, place)
        yield Row("LINK, jitter 4000 us, defaults", median_rate(runs) / place.link_rate, 0.96, detail=spread(runs))


def link_sweep(plan: Plan) -> Rows:
    """How the piece size was chosen: every cap of one request that fits, for each buffer."""
    with sparse_files(LINK) as place:
        for buffer in (8, 16, 64):
            with make_reader(place.mount_point, buffer * MIB) as reader:
                for piece in (MIB // 8, MIB // 4, MIB // 2, MIB, 2 * MIB):
                    runs = [
                        timed(lambda p=piece: sum(reader.read_chunked(f, 0, 0, GIB, p) for f in place.paths))
                        for _ in range(plan.iterations)
                    ]
                    cpu = min(run.cpu_seconds / run.nbytes * 1e9 for run in runs)
                    yield Row(
                        f"LINK, {buffer} MiB buffer, chunk_size {piece >> 10} KiB",
                        median_rate(runs) / place.link_rate,
                        None,
                        detail=f"{cpu:.4f} CPU s/GB",
                    )


def many_small(plan: Plan) -> Rows:
    """2,000 files; each way gets a mount that knows nothing of them."""
    count, size = 2000, MIB

    def one_by_one(place: Place) -> Run:
        with make_reader(place.mount_point) as reader:
            return timed(lambda: sum(reader.read_chunked(path, 0, 0, size) for path in place.paths))

    def in_one_go(place: Place) -> Run:
        with make_reader(place.mount_point) as reader:
            return timed(lambda: sum(reader.read_many([(path, 0, 0, size) for path in place.paths])))

    def fresh(way: Callable[[Place], Run]) -> Run:
        with sparse_files(LINK._replace(meta_latency_us=1000), count, size) as place:
            return way(place)

    slow, fast = in_turn(plan.iterations, lambda: fresh(one_by_one), lambda: fresh(in_one_go))
    ratio = median_rate(fast) / median_rate(slow)
    yield Row(f"{count} files of 1 MiB, read_many / one by one", ratio, 8.0, detail=spread(fast))


def headers(plan: Plan) -> Rows:
    """163 headers of 60 KB against eight threads that do the bare open and read of each."""
    count, json_bytes = 163, 60_000
    link = Link(latency_us=300, meta_latency_us=1000)

    def write(folder: str) -> List[str]:
        text = b'{"t":{"dtype":"U8","shape":[1048576],"data_offsets":[0,1048576]}}'.ljust(json_bytes)
        names = [f"h{number:03}.safetensors" for number in range(count)]
        for name in names:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(json_bytes.to_bytes(8, "little") + text)
                file.truncate(8 + json_bytes + MIB)
        return names

    def ours(served: Served, paths: List[str]) -> Run:
        with make_reader(served.mount_point) as reader:
            return timed(lambda: sum(length for _, length, _ in reader.read_headers_batch(paths, 8).values()))

    def bare(served: Served, paths: List[str]) -> Run:
        fds: List[int] = []

        def one(path: str) -> int:
            fd = os.open(path, os.O_RDONLY)
            fds.append(fd)
            return len(os.pread(fd, 8 + json_bytes, 0))

        with ThreadPoolExecutor(8) as pool:
            run = timed(lambda: sum(pool.map(one, paths)))
        for fd in fds:
            os.close(fd)
        return run

    def fresh(way: Callable[[Served, List[str]], Run]) -> Run:
        with scratch() as folder:
            names = write(folder)
            with serve(folder, link) as served:
                return way(served, [served.path(name) for name in names])

    ours_runs, bare_runs = in_turn(max(3, plan.iterations), lambda: fresh(ours), lambda: fresh(bare))
    ratio = median_rate(bare_runs) / median_rate(ours_runs)
    detail = " ".join(f"{run.seconds * 1e3:.1f}" for run in ours_runs) + " ms"
    yield Row("163 headers of 60 KB, time / bare open + read", ratio, 1.15, at_most=True, detail=detail)


# ------------------------------------------------------------------ real bytes


def real_bytes(plan: Plan) -> Rows:
    """No simulation: what the machine's memory gives, against the best that any bare window gets from it."""
    with real_files() as place:
        yield from bytes_at(plan, place)


def bytes_at(plan: Plan, place: Place) -> Rows:
    """The same on any mount, a real one too."""
    largest = max(os.stat(path).st_size for path in place.paths)
    with make_reader(place.mount_point) as reader:
        best = best_window(place.mount_point, place.paths, say=plan.say)
        alloc = reader.alloc(largest)
        read_files(reader, place.paths, alloc.address)  # its pages exist from now on
        bare, ours, direct = in_turn(
            plan.iterations,
            lambda: window(place.mount_point, place.paths, best.piece, best.depth),
            lambda: read_files(reader, place.paths),
            lambda: read_files(reader, place.paths, alloc.address),
        )
        detail = f"{spread(ours)}; best window: {best.piece >> 10} KiB x {best.depth}, {spread(bare)}"
        yield Row("real bytes, download only / best window", median_rate(ours) / median_rate(bare), 0.95, detail=detail)
        ratio = median_rate(direct) / median_rate(ours)
        yield Row("real bytes, into reader.alloc / download only", ratio, 0.97, detail=spread(direct))
        memory = HostMemory(largest)
        best = best_window(place.mount_point, place.paths, copy=True, say=plan.say)
        bare, ours, small, large = in_turn(
            plan.iterations,
            lambda: window(place.mount_point, place.paths, best.piece, best.depth, copy=True),
            lambda: read_files(reader, place.paths, memory.address),
            lambda: window(place.mount_point, place.paths, 2 * MIB, 4, copy=True),
            lambda: window(place.mount_point, place.paths, 2 * MIB, 32, copy=True),
        )
    detail = f"{spread(ours)}; best window: {best.piece >> 10} KiB x {best.depth}, {spread(bare)}"
    yield Row(
        "real bytes, into memory / best window + memcpy", median_rate(ours) / median_rate(bare), 0.95, detail=detail
    )
    # What copies miss of the caches shows in the CPU seconds.
    mine, eight, sixty_four = (_cpu_seconds(runs) for runs in (ours, small, large))
    detail = f"{sixty_four:.3f} and {eight:.3f} CPU s/GB"
    yield Row("  CPU of a window of 64 MiB + memcpy / of 8 MiB + memcpy", sixty_four / eight, None, detail=detail)
    detail = f"{mine:.3f} CPU s/GB"
    yield Row("  CPU of ours, 64 MiB / of a window of 64 MiB + memcpy", mine / sixty_four, None, detail=detail)


def _cpu_seconds(runs: Sequence[Run]) -> float:
    """For each GB."""
    return statistics.median(run.cpu_seconds / run.nbytes * 1e9 for run in runs)


def host_link(plan: Plan) -> Rows:
    """Real bytes into ordinary memory over a link of 3 GB/s."""
    link = Link(latency_us=500, bandwidth_mbps=3000, job_mbps=500)
    with real_files(link) as place, make_reader(place.mount_point) as reader:
        memory = HostMemory(max(os.stat(path).st_size for path in place.paths))
        piped, turned = in_turn(
            plan.iterations,
            lambda: read_files(reader, place.paths, memory.address),
            lambda: read_files(reader, place.paths, memory.address, pipelined=False),
        )
        ratio = median_rate(piped) / place.link_rate
        yield Row("real bytes into memory, 3 GB/s link, share", ratio, 0.93, detail=spread(piped))
        ratio = median_rate(piped) / median_rate(turned)
        yield Row("  against pipelined=False", ratio, None, detail=spread(turned))


#: Row sets by the name that selects them.
SETS = {
    "link": link_defaults,
    "jitter": link_jitter,
    "fair": fair,
    "small": many_small,
    "headers": headers,
    "bytes": real_bytes,
    "host": host_link,
    "sweep": link_sweep,
}

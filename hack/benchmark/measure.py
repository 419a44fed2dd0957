# SPDX-License-Identifier: Apache-2.0
"""What the rows of targets.py are measured with: timed reads, the yardstick, and memory to read into."""

import ctypes
import mmap
import multiprocessing
import os
import resource
import statistics
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from fastsafetensor_3fs_reader.reader_c import ThreeFSFileReader

MIB = 1 << 20
#: Where `meson compile` leaves the yardstick.
WINDOW = Path(__file__).resolve().parents[2] / "build" / "hack" / "benchmark" / "window"
PIECES = (MIB // 4, MIB // 2, MIB, 2 * MIB, 4 * MIB)
DEPTHS = (1, 2, 4, 8, 16, 32)


class Run(NamedTuple):
    """One pass over the files."""

    nbytes: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.nbytes / self.seconds


def cpu_seconds() -> float:
    """Of this process, all its threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(work: Callable[[], int]) -> Run:
    """`work` returns how many bytes it has read."""
    start, cpu = time.perf_counter(), cpu_seconds()
    nbytes = work()
    return Run(nbytes, time.perf_counter() - start, cpu_seconds() - cpu)


def median_rate(runs: Sequence[Run]) -> float:
    return statistics.median(run.rate for run in runs)


def spread(runs: Sequence[Run]) -> str:
    """For people: the samples in GB/s."""
    return " ".join(f"{run.rate / 1e9:.2f}" for run in runs) + " GB/s"


def in_turn(iterations: int, *ways: Callable[[], Run]) -> List[List[Run]]:
    """Each way once, then each once more, so that what disturbs the machine disturbs all of them."""
    samples: List[List[Run]] = [[] for _ in ways]
    for _ in range(iterations):
        for way, runs in zip(ways, samples):
            runs.append(way())
    return samples


# ------------------------------------------------------------------ memory


def _touch(memory: mmap.mmap) -> None:
    """Every page of it exists from now on."""
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1


class HostMemory:
    """Ordinary memory whose pages exist before the clock runs."""

    def __init__(self, nbytes: int) -> None:
        self._map = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        _touch(self._map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))


@contextmanager
def fresh_memory(nbytes: int) -> Iterator[int]:
    """The address of memory that nobody has touched, as ``torch.empty`` gives it."""
    memory = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = ctypes.c_char.from_buffer(memory)
    try:
        yield ctypes.addressof(first)
    finally:
        del first
        memory.close()


def recently_used(nbytes: int) -> None:
    """Takes so much memory of the kernel's, in huge pages, and gives it back.

    The host of a virtual machine takes what has been free for seconds, and giving it again costs ten times what making
    a page does. That belongs to the machine, not to who is measured.
    """
    with mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
        _touch(memory)


# ------------------------------------------------------------------ reading


def make_reader(
    mount_point: str, buffer_size: int = 64 * MIB, io_depth: int = 0, populate: str = "on"
) -> ThreeFSFileReader:
    """One that reads through USRBIO or not at all."""
    reader = ThreeFSFileReader(
        mount_point=mount_point,
        buffer_size=buffer_size,
        io_depth=io_depth,
        require="usrbio",
        usrbio="builtin",
        populate=populate,
    )
    assert reader.info()["transport"] == "usrbio", reader.info()
    return reader


def read_files(reader: ThreeFSFileReader, paths: Sequence[str], address: int = 0, pipelined: bool = True) -> Run:
    """Every file whole, one call after the other, each to the same address."""
    sizes = [os.stat(path).st_size for path in paths]
    return timed(
        lambda: sum(
            reader.read_chunked(path, address, 0, size, pipelined=pipelined) for path, size in zip(paths, sizes)
        )
    )


def _share_of_files(connection: object, mount_point: str, buffer_size: int, paths: Sequence[str]) -> None:
    """One of several processes: says when it is ready, reads its files when told, says when it began and ended."""
    with make_reader(mount_point, buffer_size) as reader:
        connection.send("ready")  # type: ignore[attr-defined]
        connection.recv()  # type: ignore[attr-defined]
        start = time.monotonic()
        run = read_files(reader, paths)
        connection.send((start, time.monotonic(), run))  # type: ignore[attr-defined]


def read_in_processes(mount_point: str, buffer_size: int, shares: Sequence[Sequence[str]]) -> Tuple[Run, List[Run]]:
    """Each share in a process with a reader of its own, from one moment on: all together, and each."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in shares]
    processes = [
        context.Process(target=_share_of_files, args=(theirs, mount_point, buffer_size, share))
        for (_, theirs), share in zip(pairs, shares)
    ]
    for process in processes:
        process.start()
    try:
        for ours, _ in pairs:
            ours.recv()
        for ours, _ in pairs:
            ours.send("go")
        ends = [ours.recv() for ours, _ in pairs]
    finally:
        for process in processes:
            process.join(60)
    runs = [run for _, _, run in ends]
    seconds = max(end for _, end, _ in ends) - min(start for start, _, _ in ends)
    return Run(sum(r.nbytes for r in runs), seconds, sum(r.cpu_seconds for r in runs)), runs


# ------------------------------------------------------------------ the yardstick


def window(mount_point: str, paths: Sequence[str], piece: int, depth: int, copy: bool = False) -> Run:
    """A bare window of requests on the hf3fs_* functions (window.c)."""
    command = [str(WINDOW), mount_point, str(piece), str(depth), "copy" if copy else "none", *paths]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:5])}: {done.stderr.strip()}")
    seconds, nbytes, cpu = done.stdout.split()
    return Run(int(nbytes), float(seconds), float(cpu))


class Best(NamedTuple):
    piece: int
    depth: int
    run: Run


def best_window(
    mount_point: str, paths: Sequence[str], copy: bool = False, say: Optional[Callable[[str], None]] = None
) -> Best:
    """The fastest of all piece sizes and depths, by one pass each."""
    best: Optional[Best] = None
    for piece in PIECES:
        for depth in DEPTHS:
            run = window(mount_point, paths, piece, depth, copy)
            if say:
                say(f"piece {piece >> 10} KiB, depth {depth}: {run.rate / 1e9:.2f} GB/s")
            if best is None or run.rate > best.run.rate:
                best = Best(piece, depth, run)
    assert best is not None
    return best

# SPDX-License-Identifier: Apache-2.0
"""Ways to get a checkpoint's tensors into host memory: this package's, and what one would use otherwise.

Each sample is a process of its own, so that none finds memory or caches that another has left. The clock runs from
the loader's first call to the last tensor; imports are over by then, and free memory has been in use a moment ago. A
tensor is dropped when the next one comes, unless they are to be kept.
"""

import hashlib
import importlib
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cache
from measure import Run, cpu_seconds, recently_used

Tensors = Iterator[Tuple[str, "object"]]
Info = Dict[str, object]
#: Bytes of tensors and buffers at a time, when tensors are dropped.
MOST_BUFFERS = 2 << 30


class Job(NamedTuple):
    """What one process is to load. Several ranks meet at a file."""

    loader: str
    mount_point: str
    paths: Tuple[str, ...]
    tensor_filter: Optional[Tuple[str, ...]] = None  # globs
    largest: int = 0  # bytes of memory to copy each tensor to, as an engine copies it to a parameter; 0 = do not
    digest: bool = False
    first_only: bool = False
    keep: bool = False  # all tensors, to the end
    max_batch_bytes: int = 0  # of fastsafetensors' chunks, where its copier can; 0 = whole shards
    rank: int = 0
    ranks: int = 1
    meeting: str = ""


class Delivery(NamedTuple):
    """What came of it."""

    run: Run
    first_seconds: float  # until the first tensor was there
    digests: Dict[str, str]  # SHA-256 of each tensor, where asked for
    info: Info  # of this package's loader


# ------------------------------------------------------------------ the loaders


def _ours(job: Job, group: object, info: Info) -> Tensors:
    from fastsafetensor_3fs_reader.torch import safe_open  # noqa: PLC0415 (needs torch)

    with safe_open(
        list(job.paths),
        framework="pt",
        device="cpu",
        process_group=group,
        tensor_filter=list(job.tensor_filter) if job.tensor_filter else None,
        require="usrbio",
    ) as checkpoint:
        try:
            yield from checkpoint.tensors()
        finally:
            info.update(checkpoint.info())


def _safetensors(job: Job, group: object, info: Info) -> Tensors:
    from safetensors import safe_open  # noqa: PLC0415 (only this loader needs it)

    for path in job.paths:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118 (no dict)
                yield name, file.get_tensor(name)


def _fastsafetensors(job: Job, group: object, info: Info) -> Tensors:
    from fastsafetensors.threefs_loader import ParallelThreeFSLoader  # noqa: PLC0415 (only this loader needs it)

    loader = ParallelThreeFSLoader(None, list(job.paths), device="cpu", use_tqdm_on_load=False)
    with closing(loader):
        yield from loader.iterate_weights()


def _copier(job: Job, group: object, info: Info) -> Tensors:
    from fastsafetensors.allocation import live_allocation_bytes  # noqa: PLC0415 (only this loader needs it)
    from fastsafetensors.threefs_loader import ParallelThreeFSLoader  # noqa: PLC0415

    from fastsafetensor_3fs_reader.fastsafetensors import register  # noqa: PLC0415

    register()
    globs = job.tensor_filter
    loader = ParallelThreeFSLoader(
        None,
        list(job.paths),
        device="cpu",
        use_tqdm_on_load=False,
        require="usrbio",
        max_batch_bytes=job.max_batch_bytes or None,
        tensor_filter=(lambda name: any(fnmatchcase(name, glob) for glob in globs)) if globs else None,
    )
    reader, peak = loader.loader.copier_constructor.reader, 0
    with closing(loader), closing(loader.iterate_weights()) as weights:
        for weight in weights:
            peak = max(peak, live_allocation_bytes())
            yield weight
        info.update(reader.info(), peak_buffer_bytes=peak)


def _run_ai(job: Job, group: object, info: Info) -> Tensors:
    from runai_model_streamer import SafetensorsStreamer  # noqa: PLC0415 (only this loader needs it)

    with SafetensorsStreamer() as streamer:
        streamer.stream_files(list(job.paths), device="cpu")
        yield from streamer.get_tensors()


class Loader(NamedTuple):
    tensors: Callable[[Job, object, Info], Tensors]
    needs: Tuple[str, ...]  # modules, loaded before the clock runs

    def missing(self) -> List[str]:
        return [name for name in self.needs if find_spec(name) is None]


OURS = "safe_open"
THEIRS = "fastsafetensors 3fs"
COPIER = "fastsafetensors, this copier"
LOADERS = {
    OURS: Loader(_ours, ("torch",)),
    "safetensors": Loader(_safetensors, ("torch", "safetensors")),
    THEIRS: Loader(_fastsafetensors, ("torch", "fastsafetensors")),
    COPIER: Loader(_copier, ("torch", "fastsafetensors")),
    "run:ai model streamer": Loader(_run_ai, ("torch", "runai_model_streamer")),
}


# ------------------------------------------------------------------ one process


def _bytes(tensor: object) -> object:
    """The tensor as a tensor of bytes."""
    torch = importlib.import_module("torch")
    return tensor.contiguous().reshape(-1).view(torch.uint8)  # type: ignore[attr-defined]


def _parameter(job: Job) -> object:
    """Memory for any tensor of the files, all of it touched."""
    torch = importlib.import_module("torch")
    return torch.ones(job.largest, dtype=torch.uint8)


def _memory(job: Job) -> int:
    """No loader takes more bytes than this from the kernel."""
    total = sum(os.stat(path).st_size for path in job.paths)
    return total + MOST_BUFFERS if job.keep else min(2 * total, MOST_BUFFERS)


@contextmanager
def _group(job: Job) -> Iterator[object]:
    """Of all ranks, over gloo; none for one rank."""
    if job.ranks == 1:
        yield None
        return
    distributed = importlib.import_module("torch.distributed")
    distributed.init_process_group("gloo", init_method=f"file://{job.meeting}", rank=job.rank, world_size=job.ranks)
    try:
        distributed.barrier()
        yield distributed.group.WORLD
    finally:
        distributed.destroy_process_group()


def load(job: Job) -> Delivery:
    """Entry point of a process."""
    loader = LOADERS[job.loader]
    for name in loader.needs:
        importlib.import_module(name)
    cache.drop(job.paths)
    info: Info = {}
    digests: Dict[str, str] = {}
    parameter = _parameter(job)
    kept: List[object] = []
    recently_used(_memory(job))
    with _group(job) as group, closing(loader.tensors(job, group, info)) as tensors:
        nbytes, first, cpu, start = 0, 0.0, cpu_seconds(), time.perf_counter()
        for name, tensor in tensors:
            first = first or time.perf_counter() - start
            nbytes += tensor.nbytes  # type: ignore[attr-defined]
            if job.largest:
                parameter[: tensor.nbytes].copy_(_bytes(tensor))  # type: ignore[index,attr-defined]
            if job.digest:
                digests[name] = hashlib.sha256(_bytes(tensor).numpy()).hexdigest()  # type: ignore[attr-defined]
            if job.keep:
                kept.append(tensor)
            if job.first_only:
                break
        run = Run(nbytes, time.perf_counter() - start, cpu_seconds() - cpu)
    return Delivery(run, first, digests, info)


# ------------------------------------------------------------------ processes


def _in_processes(jobs: Sequence[Job]) -> List[Delivery]:
    with ProcessPoolExecutor(len(jobs), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(load, jobs))


def in_process(job: Job) -> Delivery:
    """One sample."""
    return _in_processes([job])[0]


def in_ranks(job: Job, ranks: int) -> List[Delivery]:
    """One sample by several ranks together."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        return _in_processes([job._replace(rank=rank, ranks=ranks, meeting=meeting) for rank in range(ranks)])

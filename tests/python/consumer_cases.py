# SPDX-License-Identifier: Apache-2.0
"""Cases for ``Forked`` (forked.py): fastsafetensors as it is published, which loads checkpoints and compares them.

Of this package, and of what fastsafetensors imports of it, nothing is imported here: it looks at the environment.
"""

import contextlib
import os
import re
import sys
import threading
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import fastsafetensors
import fastsafetensors.parallel_loader
import torch
from fastsafetensors import AutoLoader
from fastsafetensors.threefs_loader import ParallelThreeFSLoader, ThreeFSLoader
from safetensors.torch import load_file, save_file

#: What gloo cannot send as it is. The parallel loaders send bytes.
UNSENT = (torch.int16, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2)
Weights = Iterator[Tuple[str, torch.Tensor]]


def plain(group: Any, files: List[str], options: Dict[str, Any]) -> Weights:
    """ThreeFSLoader: every file at once, then tensor by tensor."""
    loader = ThreeFSLoader(group, device="cpu", **options)
    ranks = group.size() if group is not None else 1
    unsent = [str(dtype).partition(".")[2] for dtype in UNSENT] if ranks > 1 else []
    loader.add_filenames({rank: files[rank::ranks] for rank in range(ranks)})
    buffers = loader.copy_files_to_device()
    try:
        for name in sorted(name for name in loader.get_keys() if name.partition(".")[2] not in unsent):
            yield name, buffers.get_tensor(name)
    finally:
        buffers.close()
        loader.close()


def weights_of(loader: Any) -> Weights:
    try:
        with contextlib.closing(loader.iterate_weights()) as weights:
            yield from weights
    finally:
        loader.close()


def parallel(group: Any, files: List[str], options: Dict[str, Any]) -> Weights:
    yield from weights_of(ParallelThreeFSLoader(group, files, device="cpu", use_tqdm_on_load=False, **options))


def auto(group: Any, files: List[str], options: Dict[str, Any]) -> Weights:
    assert not options, "its options come from a file"
    yield from weights_of(AutoLoader(group, files, device="cpu"))


def swapped(group: Any, files: List[str], options: Dict[str, Any]) -> Weights:
    """The call that vLLM makes of ParallelLoader, with another class in its place."""
    fastsafetensors.parallel_loader.ParallelLoader = ParallelThreeFSLoader
    loader = fastsafetensors.parallel_loader.ParallelLoader(
        pg=group if group is not None else fastsafetensors.SingleGroup(),
        hf_weights_files=files,
        queue_size=0,
        use_tqdm_on_load=False,
        device="cpu",
        nogds=True,
        **options,
    )
    try:
        yield from loader.iterate_weights()
    finally:
        loader.close()


LOADERS = {"plain": plain, "parallel": parallel, "auto": auto, "swapped": swapped}


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """By bytes: NaN is what it is."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.contiguous().reshape(-1).view(torch.uint8), b.contiguous().reshape(-1).view(torch.uint8))


def meet(rank: int, ranks: int, meeting: str) -> Any:
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    return torch.distributed.group.WORLD


def buffer_bytes() -> Callable[[], int]:
    """Bytes of the buffers that fastsafetensors has at the moment, where it counts them."""
    if find_spec("fastsafetensors.allocation") is None:
        return lambda: 0
    from fastsafetensors.allocation import live_allocation_bytes  # noqa: PLC0415 (not in every version)

    return live_allocation_bytes


def shared_memory() -> List[str]:
    """This process's readers' in /dev/shm."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return sorted({line.split(None, 5)[5].strip() for line in maps if "/dev/shm/hf3fs-iov" in line})


def ours() -> None:
    """The copier of this package, from now on."""
    from fastsafetensor_3fs_reader.fastsafetensors import register  # noqa: PLC0415

    register()


def load(
    rank: int,
    ranks: int,
    loader: str,
    reference: str,
    files: List[str],
    options: Dict[str, Any],
    copier: bool,
    meeting: Optional[str],
    only: str,
    leave: Optional[int],
) -> Dict[str, Any]:
    """Every tensor as it is in the folder ``reference``. With this package's ``copier``; ranks find each other in the
    file ``meeting``; ``only`` is a pattern of the names that are wanted, ``leave`` a number of tensors after which the
    iterator is closed.

    Gives the most bytes of buffers there were, alone and with the tensors given out; how many tensors were equal before
    an error; how many were equal, or the error that came; and what is left of the loader.
    """
    torch.set_num_threads(1)
    wanted = re.compile(only)
    if only:
        options["tensor_filter"] = lambda name: bool(wanted.search(name))
    if copier:
        ours()
    expected = {}
    for file in files:
        tensors = load_file(os.path.join(reference, os.path.basename(file)))
        expected.update({name: tensor for name, tensor in tensors.items() if wanted.search(name)})
    group = meet(rank, ranks, meeting) if meeting else None
    equal, before, buffers = 0, threading.enumerate(), buffer_bytes()
    peak = held = given = 0
    if loader == "plain" and group is not None:
        expected = {name: tensor for name, tensor in expected.items() if tensor.dtype not in UNSENT}
    try:
        with contextlib.closing(LOADERS[loader](group, files, options)) as weights:
            for name, tensor in weights:
                assert same(tensor, expected.pop(name)), f"{name} differs"
                equal, given, now = equal + 1, given + tensor.nbytes, buffers()
                peak, held = max(peak, now), max(held, now + given)
                if equal == leave:
                    break
        assert not expected or equal == leave, f"{list(expected)} did not come"
        end = f"{equal} equal"
    except Exception as e:
        end = f"{type(e).__name__}: {e}"
    # The progress bar has a watcher, for good.
    left = [t.name for t in threading.enumerate() if t not in before and type(t).__name__ != "TMonitor"]
    left += shared_memory() if copier else []
    if group is not None:
        torch.distributed.destroy_process_group()
    return {"peak": peak, "held": held, "before": equal, "end": end, "left": left}


def write(rank: int, ranks: int, folder: str, shards: int, size: int) -> None:
    """A checkpoint of all types."""
    torch.manual_seed(1)
    whole = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
    floating = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
    for shard in range(shards):
        tensors = {}
        for name in whole + floating:
            dtype = getattr(torch, name)
            raw = torch.randint(0, 2 if name == "bool" else 256, (64 * (size + shard),), dtype=torch.uint8)
            tensors[f"{shard}.{name}"] = raw.view(dtype).reshape(8, -1).contiguous()
        tensors[f"{shard}.scalar"] = torch.tensor(float(shard))
        tensors[f"{shard}.odd"] = torch.arange(7, dtype=torch.int8)
        save_file(tensors, f"{folder}/model-{shard:05}-of-{shards:05}.safetensors")


def rewrite(rank: int, ranks: int, path: str, to: str) -> None:
    """As the safetensors package lays it out."""
    save_file(load_file(path), to)


def sample(rank: int, ranks: int, folder: str, job: List[Any]) -> List[Any]:
    """What a process of the benchmark does, whose modules are in ``folder``."""
    sys.path.insert(0, folder)
    from loaders import Job, load  # noqa: PLC0415

    return list(load(Job(*job)))


def register(rank: int, ranks: int) -> None:
    ours()


def truncate(rank: int, ranks: int, mount: str, path: str, behind: str) -> None:
    """The file loses its end once its header has been read."""
    ours()
    loader = ThreeFSLoader(None, mount_point=mount)
    loader.add_filenames({0: [path]})
    os.truncate(behind, os.path.getsize(behind) - 200_000)
    loader.copy_files_to_device()


CASES = {case.__name__: case for case in (load, write, rewrite, sample, register, truncate)}
END = sys.exit  # a whole end: it goes well, too

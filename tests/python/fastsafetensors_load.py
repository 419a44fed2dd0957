# SPDX-License-Identifier: Apache-2.0
"""One rank that loads a checkpoint with fastsafetensors, in a process of its own, and compares every tensor.

fastsafetensors_load.py LOADER REFERENCE FILE... [key=value ...], with RANK, WORLD_SIZE and MEETING in the environment
for several ranks, and COPIER=ours for the copier of this package. ``only`` is a pattern of the names that are wanted,
``leave`` a number of tensors after which the iterator is closed.

Prints the most bytes of buffers there were, alone and with the tensors given out, how many tensors were equal before an
error, how many were equal or the error that came, and what is left of the loader.
"""

import contextlib
import json
import os
import re
import sys
import threading
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, Tuple

import fastsafetensors
import fastsafetensors.parallel_loader
import torch
from fastsafetensors import AutoLoader
from fastsafetensors.threefs_loader import ParallelThreeFSLoader, ThreeFSLoader
from safetensors.torch import load_file

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


def parallel(group: Any, files: List[str], options: Dict[str, Any]) -> Weights:
    loader = ParallelThreeFSLoader(group, files, device="cpu", use_tqdm_on_load=False, **options)
    try:
        with contextlib.closing(loader.iterate_weights()) as weights:
            yield from weights
    finally:
        loader.close()


def auto(group: Any, files: List[str], options: Dict[str, Any]) -> Weights:
    assert not options, "its options come from a file"
    loader = AutoLoader(group, files, device="cpu")
    try:
        with contextlib.closing(loader.iterate_weights()) as weights:
            yield from weights
    finally:
        loader.close()


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


def meet() -> Any:
    if "WORLD_SIZE" not in os.environ:
        return None
    torch.distributed.init_process_group(
        "gloo",
        init_method="file://" + os.environ["MEETING"],
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
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


def main(loader: str, reference: str, *rest: str) -> None:
    torch.set_num_threads(1)
    files = [argument for argument in rest if "=" not in argument]
    options = {key: json.loads(value) for key, _, value in (a.partition("=") for a in rest if "=" in a)}
    wanted, leave = re.compile(options.pop("only", "")), options.pop("leave", None)
    if wanted.pattern:
        options["tensor_filter"] = lambda name: bool(wanted.search(name))
    if os.environ.get("COPIER") == "ours":
        from fastsafetensor_3fs_reader.fastsafetensors import register  # noqa: PLC0415 (other tests are without it)

        register()
    expected = {}
    for file in files:
        tensors = load_file(os.path.join(reference, os.path.basename(file)))
        expected.update({name: tensor for name, tensor in tensors.items() if wanted.search(name)})
    group, equal, before, buffers = meet(), 0, threading.enumerate(), buffer_bytes()
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
    print(f"at most {peak} bytes, {held} with tensors", f"{equal} equal before", end, sep="\n")
    # The progress bar has a watcher, for good.
    left = [t.name for t in threading.enumerate() if t not in before and type(t).__name__ != "TMonitor"]
    left += shared_memory() if os.environ.get("COPIER") == "ours" else []
    print(f"threads left: {', '.join(left) or 'none'}")
    if group is not None:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

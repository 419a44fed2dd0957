# SPDX-License-Identifier: Apache-2.0
"""One rank that loads a checkpoint with fastsafetensors, in a process of its own, and compares every tensor.

fastsafetensors_load.py LOADER REFERENCE FILE... [key=value ...], with RANK, WORLD_SIZE and MEETING in the environment
for several ranks. Prints how many tensors were equal, or the error that came.
"""

import contextlib
import json
import os
import sys
import threading
from typing import Any, Dict, Iterator, List, Tuple

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
        yield from loader.iterate_weights()
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
    """The call that vLLM makes of ParallelLoader, after docs/integrations.md has put another class in its place."""
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


def main(loader: str, reference: str, *rest: str) -> None:
    torch.set_num_threads(1)
    files = [argument for argument in rest if "=" not in argument]
    options = {key: json.loads(value) for key, _, value in (a.partition("=") for a in rest if "=" in a)}
    expected = {}
    for file in files:
        expected.update(load_file(os.path.join(reference, os.path.basename(file))))
    group, equal, before = meet(), 0, threading.enumerate()
    if loader == "plain" and group is not None:
        expected = {name: tensor for name, tensor in expected.items() if tensor.dtype not in UNSENT}
    try:
        for name, tensor in LOADERS[loader](group, files, options):
            assert same(tensor, expected.pop(name)), f"{name} differs"
            equal += 1
        assert not expected, f"{list(expected)} did not come"
        print(f"{equal} equal")
    except Exception as e:
        print(f"{type(e).__name__}: {e}")
    # The progress bar has a watcher, for good.
    left = [t.name for t in threading.enumerate() if t not in before and type(t).__name__ != "TMonitor"]
    print(f"threads left: {', '.join(left) or 'none'}")
    if group is not None:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

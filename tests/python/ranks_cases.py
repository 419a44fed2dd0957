# SPDX-License-Identifier: Apache-2.0
"""A case for ``Forked`` (forked.py): one rank of several that load a checkpoint together."""

import hashlib
import os
import signal
import time
from datetime import timedelta
from typing import Any, Dict

import torch
import torch.distributed as dist

from fastsafetensor_3fs_reader.torch import safe_open

TIMEOUT_S = 8
HANG_TIMEOUT_S = 3  # which is waited for


def misbehave(how: str) -> None:
    """What the last rank does in mid-load."""
    if how == "raise":
        raise KeyError("the consumer's own")
    if how == "kill":
        os.kill(os.getpid(), 9)
    if how == "hang":
        time.sleep(3 * HANG_TIMEOUT_S)
    if how == "slow":
        time.sleep(TIMEOUT_S / 2)
    if how == "signal":  # while it waits for the slow one
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S / 8)


def take(f: Any, how: str) -> Dict[str, str]:
    """Every tensor's digest; unless well, the reading ends, or goes wrong, after a few."""
    got: Dict[str, str] = {}
    if how == "before":
        raise KeyError("the consumer's own")
    if how == "again":  # from the start, with the first time not at its end
        started = f.tensors()
        next(started)
        got = take(f, "well")
        try:
            next(started)
        except ValueError as e:
            assert "closed" in str(e)
        return got
    for number, (name, tensor) in enumerate(f.tensors()):
        got[name] = hashlib.sha256(bytes(tensor.flatten().view(torch.uint8).numpy())).hexdigest()
        if number == 3:
            misbehave(how)
            if how == "leave":
                break
        if how == "late" and len(got) == len(f.keys()):
            raise KeyError("the consumer's own")
    return got


def load(rank: int, ranks: int, store: str, directory: str, backing: str, how: str) -> Dict[str, Any]:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=ranks, timeout=timedelta(seconds=60)
    )
    kwargs: Dict[str, Any] = {"require": "usrbio", "buffer_size": 4 << 20, "window": 2 << 20}
    kwargs["timeout"] = HANG_TIMEOUT_S if how == "hang" else TIMEOUT_S
    if how == "filter":
        kwargs["tensor_filter"] = f"t{rank}.*"
    last = rank == ranks - 1
    if how in ("other", "nowhere") and last:
        directory = os.path.join(directory, how)
    if how == "signal" and not last:
        how = "slow"
    got, error, info, start = {}, "", {}, time.monotonic()
    try:
        with safe_open(directory, process_group=dist.group.WORLD, **kwargs) as f:
            if how == "truncate" and last:
                os.truncate(os.path.join(backing, "m.safetensors"), 9 << 20)
            try:
                got = take(f, how if last or how in ("slow", "again") else "well")
            finally:
                info = f.info()
    except (OSError, ValueError, RuntimeError, KeyError, KeyboardInterrupt) as e:
        error = f"{type(e).__name__}: {e}"
    return {"got": got, "error": error, "info": info, "seconds": time.monotonic() - start}


CASES = {"load": load}
END = os._exit  # gloo's own end would wait for ranks that are gone

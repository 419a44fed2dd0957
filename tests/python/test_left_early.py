# SPDX-License-Identifier: Apache-2.0
"""Leaving tensors() early: nothing is written to memory that is gone."""

import json
import signal
from typing import Callable

import pytest
from support import MIB, Mount, eventually, run_python

from fastsafetensor_3fs_reader.numpy import safe_open

#: Tensors so large that their memory is unmapped when they go, so that a late write to it ends the process; and so many
#: that their going takes a while.
TENSOR = MIB // 2
COUNT = 400
LEAVE = """
import sys
from fastsafetensor_3fs_reader.numpy import safe_open
for _ in range(5):
    with safe_open(sys.argv[1], require="usrbio") as f:
        for name, tensor in f.tensors():
            break
    assert (f.info()["transport"], name, tensor.nbytes) == ("usrbio", "t0", int(sys.argv[2]))
print("left")
"""


def write_checkpoint(mount: Mount, count: int) -> str:
    offsets = [[n * TENSOR, (n + 1) * TENSOR] for n in range(count)]
    header = {f"t{n}": {"dtype": "U8", "shape": [TENSOR], "data_offsets": at} for n, at in enumerate(offsets)}
    text = json.dumps(header).encode()
    return mount.write("model.safetensors", len(text).to_bytes(8, "little") + text + bytes(count * TENSOR))


def test_what_is_being_read_into_outlives_the_reading(serve: Callable[..., Mount]) -> None:
    mount = serve("--latency-us=500", "--bandwidth-mbps=1000")
    path = write_checkpoint(mount, COUNT)
    done = run_python("-c", LEAVE, path, str(TENSOR))
    assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr


def test_an_interrupt_while_it_is_being_left(serve: Callable[..., Mount]) -> None:
    """It is what comes out, and everything is given back all the same."""
    mount = serve("--bandwidth-mbps=4")
    opened = safe_open(write_checkpoint(mount, 8), require="usrbio", buffer_size=MIB)
    tensors = opened.tensors()
    assert next(tensors)[0] == "t0"
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with mount.suspended():
            # Leaving waits a second for what is in flight, and that does not come.
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt), opened:
                pass
    finally:
        signal.signal(signal.SIGALRM, before)
    opened.close()
    assert eventually(lambda: mount.registrations() == 0)

# SPDX-License-Identifier: Apache-2.0
"""Leaving tensors() early: nothing is written to memory that is gone."""

import json
from typing import Callable

from support import MIB, Mount, run_python

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


def test_what_is_being_read_into_outlives_the_reading(serve: Callable[..., Mount]) -> None:
    mount = serve("--latency-us=500", "--bandwidth-mbps=1000")
    offsets = [[n * TENSOR, (n + 1) * TENSOR] for n in range(COUNT)]
    header = {f"t{n}": {"dtype": "U8", "shape": [TENSOR], "data_offsets": at} for n, at in enumerate(offsets)}
    text = json.dumps(header).encode()
    path = mount.write("model.safetensors", len(text).to_bytes(8, "little") + text + bytes(COUNT * TENSOR))
    done = run_python("-c", LEAVE, path, str(TENSOR))
    assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr

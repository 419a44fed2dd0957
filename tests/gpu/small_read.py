# SPDX-License-Identifier: Apache-2.0
"""A few reads into GPU memory, small enough for compute-sanitizer."""

import torch
from gpu_support import MIB, random_file, served

with served() as place:
    random_file(place.backing / "data.bin", 5 * MIB + 321)
    with place.reader(buffer_size=MIB) as reader:
        for pipelined in (True, False):
            target = torch.zeros(5 * MIB + 321, dtype=torch.uint8, device="cuda:0")
            got = reader.read_chunked(
                str(place.path / "data.bin"), target.data_ptr(), 0, target.numel(), pipelined=pipelined
            )
            assert got == target.numel()
            assert target.cpu().numpy().tobytes() == (place.backing / "data.bin").read_bytes()

# SPDX-License-Identifier: Apache-2.0
"""Memory of tensors that are gone is used for those that come, and never that of a tensor somebody still looks at."""

import json
import os
import struct
import subprocess
import sys
from typing import Dict

import numpy as np
from support import KIB, MIB, Mount, random_bytes

import fastsafetensor_3fs_reader.numpy as fst_numpy
from fastsafetensor_3fs_reader.hugepages import LARGE, HugePages

SIZE = 4 * MIB


def mapped() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[0]) * 4 * KIB


def test_it_is_used_again_when_its_last_view_is_gone() -> None:
    pages = HugePages(4 * SIZE)
    memory = pages.take(SIZE)
    assert memory is not None
    address, view = memory.address, memoryview(memory)[MIB:][::2]
    del memory
    other = pages.take(SIZE)
    assert other is not None
    assert other.address != address
    view.release()
    del view
    again = pages.take(SIZE)
    assert again is not None
    assert again.address == address


TRACED = """
import sys
def look(frame, event, arg):
    frame.f_locals
    return look
sys.settrace(look)
from fastsafetensor_3fs_reader.hugepages import HugePages
sys.settrace(None)
pages = HugePages(1 << 30)
views = [memoryview(pages.take(4 << 20)) for _ in range(8)]
assert len({view.obj.address for view in views}) == 8
"""


def test_what_a_debugger_saw_being_imported() -> None:
    """It holds references of its own, for as long as it looks."""
    subprocess.run([sys.executable, "-c", TRACED], check=True)


def test_another_size_is_not_what_was_left() -> None:
    pages = HugePages(4 * SIZE)
    assert len(pages.take(SIZE) or b"") == SIZE
    assert len(pages.take(SIZE + 1) or b"") == SIZE + 1


def test_small_tensors_have_none() -> None:
    assert HugePages(SIZE).take(LARGE - 1) is None


def test_no_more_than_the_limit_is_kept() -> None:
    pages, before = HugePages(2 * SIZE), mapped()
    views = [memoryview(pages.take(SIZE + n * 4 * KIB)) for n in range(8)]  # type: ignore[arg-type]
    assert mapped() - before >= 8 * SIZE
    views.clear()
    assert mapped() - before < 3 * SIZE
    pages.release()
    assert mapped() - before < SIZE


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4 * KIB


def header_of(count: int) -> bytes:
    tensors = {
        f"t{n:03}": {"dtype": "U8", "shape": [SIZE], "data_offsets": [n * SIZE, (n + 1) * SIZE]} for n in range(count)
    }
    raw = json.dumps(tensors).encode()
    return struct.pack("<Q", len(raw)) + raw


def test_arrays_that_are_kept_stay_as_they_are(mount: Mount) -> None:
    content = [random_bytes(SIZE, seed=n) for n in range(24)]
    mount.write("model.safetensors", header_of(24) + b"".join(content))
    kept: Dict[int, np.ndarray] = {}
    with fst_numpy.safe_open(mount.path) as f:
        for number, (_, array) in enumerate(f.tensors()):
            assert array.tobytes() == content[number]
            if number % 3 != 0:
                kept[number] = array[number:] if number % 2 else array
        for number, array in kept.items():
            f.get_tensor("t000")
            assert array.tobytes() == content[number][SIZE - len(array) :]


def test_a_stream_whose_tensors_are_dropped_needs_little_memory(mount: Mount) -> None:
    """What is under way at a time of 512 MiB of zeros, and nothing of that when the last tensor was given."""
    count, header = 128, header_of(128)
    with open(mount.write("model.safetensors", header), "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, len(header) + count * SIZE)
    with fst_numpy.safe_open(mount.path, ahead=8 * MIB, require="usrbio") as f:
        assert not f.get_tensor("t000").any()
        before = resident()
        for _, array in f.tensors():
            assert not array.any()
        del array
        assert resident() - before < 2 * SIZE
        info = f.info()
    assert info["bytes"] == (count + 1) * SIZE
    assert info["populated"] <= count * SIZE // 2  # type: ignore[operator]

# SPDX-License-Identifier: Apache-2.0
"""fst3fs check."""

import ctypes
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, Callable, Dict

import fst3fs
import numpy as np
import pytest
from safetensors.numpy import save_file
from support import MIB, Mount, random_bytes

from fastsafetensor_3fs_reader.checkpoint import TensorInfo
from fastsafetensor_3fs_reader.cli.compare import first_difference, place


def write_model(folder: Path, shards: int = 3) -> Path:
    folder.mkdir()
    weight_map = {}
    for shard in range(shards):
        tensors = {f"t{shard}.{i}": np.full((i + 1, 3), shard, np.float32) for i in range(4)}
        save_file(tensors, folder / f"m{shard}.safetensors")
        weight_map.update(dict.fromkeys(tensors, f"m{shard}.safetensors"))
    write_index(folder, weight_map)
    return folder


def write_index(folder: Path, weight_map: Dict[str, str], **more: Any) -> None:
    index = {"metadata": {}, "weight_map": weight_map, **more}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def faults(result: Dict[str, Any]) -> Dict[str, str]:
    return {os.path.basename(file["file"]): file["fault"] for file in result["files"] if file["fault"]}


# ------------------------------------------------------------------ headers and index


def test_all_is_well(scratch: Path) -> None:
    model = write_model(scratch / "model")
    done = fst3fs.run("check", str(model))
    assert (done.returncode, done.stderr) == (0, "")
    *rows, verdict = done.stdout.splitlines()
    assert rows == [f"ok  {model}/m{i}.safetensors: 4 tensors, 120 B" for i in range(3)]
    assert verdict == "All is well."
    assert faults(fst3fs.result("check", str(model / "m0.safetensors"), str(model))) == {}


def test_every_broken_file_is_named(scratch: Path) -> None:
    model = write_model(scratch / "model")
    with open(model / "m0.safetensors", "ab") as file:
        file.write(b"more")
    (model / "m2.safetensors").write_bytes(b"short")
    found = faults(fst3fs.result("check", str(model), status=1))
    assert found.keys() == {"m0.safetensors", "m2.safetensors"}
    shown = fst3fs.run("check", str(model)).stdout.splitlines()
    assert [line.split()[0] for line in shown[:3]] == ["BAD", "ok", "BAD"]
    assert shown[-1] == "2 are BAD."


def test_an_index_that_names_too_much(scratch: Path) -> None:
    model = write_model(scratch / "model", shards=1)
    write_index(model, {"t0.0": "m0.safetensors", "t9": "m0.safetensors"})
    (fault,) = faults(fst3fs.result("check", str(model), status=1)).values()
    assert "t9" in fault
    write_index(model, {"t0.0": "missing.safetensors"})
    (fault,) = faults(fst3fs.result("check", str(model), status=1)).values()
    assert "missing.safetensors" in fault


def test_an_index_that_names_too_little(scratch: Path) -> None:
    model = write_model(scratch / "model", shards=1)
    write_index(model, {"t0.0": "m0.safetensors"}, metadata={"total_size": 7})
    done = fst3fs.run("check", str(model))
    assert done.returncode == 1
    assert "does not name 3 tensors of its files, such as t0." in done.stdout
    assert "total_size is 7, and the tensors have 120 bytes" in done.stderr


def test_a_tensor_in_two_files(scratch: Path) -> None:
    model = scratch / "model"
    model.mkdir()
    for name in ("a", "b"):
        save_file({"t": np.zeros(1)}, model / f"{name}.safetensors")
    (fault,) = faults(fst3fs.result("check", str(model), status=1)).values()
    assert "tensor t is in" in fault


def test_what_is_not_there(scratch: Path) -> None:
    done = fst3fs.run("check", str(scratch / "missing"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "missing" in done.stderr


# ------------------------------------------------------------------ data


@pytest.fixture
def large(mount: Mount) -> str:
    """More than one step."""
    path = mount.path / "large.safetensors"
    save_file({"t": np.frombuffer(random_bytes(70 * MIB), np.uint8)}, mount.backing / path.name)
    return str(path)


def test_every_byte_both_ways(mount: Mount, large: str) -> None:
    small = mount.write("small.safetensors", fst3fs.small_checkpoint())
    data = fst3fs.result("check", "--data", large, small)["data"]
    size = os.path.getsize(large) + os.path.getsize(small)
    assert (data["transport"], data["nbytes"], data["differences"]) == ("usrbio", size, [])
    stats = mount.stats()
    assert (stats["bytes"], stats["violations"]) == (size, 0)
    assert stats["fuse_read_bytes"] >= size
    done = fst3fs.run("check", "--data", small)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "All is well; every byte was compared.")


def test_bytes_that_did_not_arrive(serve: Callable) -> None:
    mount: Mount = serve("--null")  # counts, without bytes
    path = mount.write("a.safetensors", fst3fs.small_checkpoint())
    result = fst3fs.result("check", "--data", path, status=1)
    (difference,) = result["data"]["differences"]
    assert faults(result) == {}
    length = (mount.backing / "a.safetensors").read_bytes()[0]
    assert difference == {
        **{"file": path, "offset": 0, "tensor": "", "tensor_offset": 0},
        **{"usrbio": 0xA5, "kernel": length},
    }
    done = fst3fs.run("check", "--data", path)
    assert done.stdout.splitlines()[1] == (
        f"BAD  {path}: byte 0, the header: USRBIO gives 0xa5, the kernel {length:#04x}"
    )
    assert done.stdout.splitlines()[-1] == "1 is BAD."


def test_data_off_3fs(scratch: Path) -> None:
    (scratch / "a.safetensors").write_bytes(fst3fs.small_checkpoint())
    done = fst3fs.run("check", "--data", str(scratch / "a.safetensors"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "not on a 3FS mount" in done.stderr


def test_data_on_several_mounts(serve: Callable) -> None:
    paths = [serve().write("a.safetensors", fst3fs.small_checkpoint()) for _ in range(2)]
    done = fst3fs.run("check", "--data", *paths)
    assert done.returncode == 3
    assert "reading otherwise is ruled out" in done.stderr
    assert paths[1] in done.stderr


def test_a_progress_bar(large: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [sys.executable, "-I", fst3fs.TOOL, "check", "--data", large]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=False)
    assert done.returncode == 0
    assert b"compare:" in os.read(ours, 1000)
    for end in (ours, theirs):
        os.close(end)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_the_first_difference(size: int) -> None:
    a, b = (ctypes.create_string_buffer(size) for _ in range(2))
    addresses = [ctypes.addressof(x) for x in (a, b)]
    assert first_difference(*addresses, size) == -1
    for where in range(size):
        b[size - 1] = b"x"
        b[where] = b"y"
        assert first_difference(*addresses, size) == where
        b[size - 1] = b[where] = b"\0"


def test_the_place_of_a_byte() -> None:
    tensors = [
        TensorInfo(name, "U8", (), "f", offset, n) for name, offset, n in [("a", 9, 4), ("b", 13, 0), ("c", 13, 2)]
    ]
    places = [place(tensors, offset) for offset in (0, 8, 9, 12, 13, 14)]
    assert places == [("", 0), ("", 0), ("a", 0), ("a", 3), ("c", 0), ("c", 1)]

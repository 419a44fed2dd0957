# SPDX-License-Identifier: Apache-2.0
"""The demo, as a user runs it."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Callable, List

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import PACKAGE, ROOT, Mount, eventually, python, run_python, safetensors_file

from fastsafetensor_3fs_reader.demo.compare import compare_shard


@pytest.fixture
def demo(scratch: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the demo; asserts that it leaves nothing behind."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "TMPDIR": str(scratch), "COLUMNS": "120"}
        done = run_python("-m", PACKAGE, "demo", *arguments, env=environment)
        assert left_behind(scratch) == []
        return done

    return run


def left_behind(scratch: Path) -> List[str]:
    """Folders, mounts and processes of a demo whose temporary folder is ``scratch``."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {scratch}/fst3fs-" in line]
    processes = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(scratch / "fst3fs-") in command and b"usrbiod" in command:
            processes.append(pid)
    return [str(p) for p in scratch.glob("fst3fs-*")] + mounts + processes


def rows(output: str) -> List[List[str]]:
    """The cells of the table's shards."""
    lines = [line.split() for line in output.splitlines()]
    return [cells for cells in lines if cells and cells[0].endswith(".safetensors")]


def checkpoint(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for shard in range(3):
        tensors = {f"t{shard}.{i}": rng.standard_normal((i, 100 + shard)).astype(np.float32) for i in range(5)}
        save_file(tensors, folder / f"model-{shard + 1}.safetensors")
    return folder


def test_a_made_up_checkpoint(demo: Callable) -> None:
    done = demo()
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert len(table) == 5
    assert all(row[-1] == "usrbio" for row in table)
    assert sum(int(row[1].replace(",", "")) for row in table) == pytest.approx(1e9, rel=0.1)
    # As the README shows it.
    (last,) = re.findall(r"^(\d+ tensors identical)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert done.stdout.splitlines()[-1] == last


def test_a_small_one(demo: Callable) -> None:
    done = demo("--size-gb", "0.1")
    assert done.returncode == 0, done.stderr
    assert sum(int(row[1].replace(",", "")) for row in rows(done.stdout)) < 2e8
    assert done.stdout.splitlines()[-1].endswith(" tensors identical")


def test_a_checkpoint_of_ones_own(demo: Callable, scratch: Path) -> None:
    model = checkpoint(scratch / "my model")
    before = sorted(model.iterdir())
    done = demo("--model", str(model))
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in rows(done.stdout)] == [f"model-{i}.safetensors" for i in (1, 2, 3)]
    assert done.stdout.splitlines()[-1] == "15 tensors identical"
    assert sorted(model.iterdir()) == before


def test_the_index_says_which_shards_count(demo: Callable, scratch: Path) -> None:
    model = checkpoint(scratch / "model")
    index = {"weight_map": {"t0.0": "model-1.safetensors", "t2.0": "model-3.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    done = demo("--model", str(model))
    assert [row[0] for row in rows(done.stdout)] == ["model-1.safetensors", "model-3.safetensors"]


def test_a_checkpoint_on_a_mount(demo: Callable, mount: Mount) -> None:
    checkpoint(mount.backing / "model")
    done = demo("--mount", str(mount.path / "model"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "15 tensors identical"
    assert mount.stats()["requests"] >= 3


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "no .safetensors file"), (b"junk", "junk.safetensors"), (b"", "junk.safetensors")]
)
def test_no_checkpoint(demo: Callable, scratch: Path, content: bytes, complaint: str) -> None:
    model = scratch / "model"
    model.mkdir()
    if content is not None:
        (model / "junk.safetensors").write_bytes(content)
    done = demo("--model", str(model))
    assert done.returncode == 3
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_places_that_are_none(demo: Callable, scratch: Path) -> None:
    for arguments in (("--model", str(scratch / "missing")), ("--mount", str(scratch))):
        done = demo(*arguments)
        assert done.returncode == 3
        assert str(scratch) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(scratch: Path, number: int) -> None:
    process = python(
        *("-m", PACKAGE, "demo", "--size-gb", "0.5"),
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    # Its daemon runs: it is past the writing, and reading.
    assert eventually(lambda: any(p.isdigit() for p in left_behind(scratch)), 60)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, 128 + number), err
    assert left_behind(scratch) == []


def test_a_wrong_byte_is_found(scratch: Path) -> None:
    path = scratch / "m"
    whole = safetensors_file(bytes(range(100)))
    path.write_bytes(whole)
    header = whole[8:-100].decode()
    data = np.frombuffer(whole[-100:], np.uint8).copy()
    assert compare_shard(str(path), header, data) == (1, [])
    data[99] ^= 1
    assert compare_shard(str(path), header, data) == (0, ["t"])
    assert compare_shard(str(path), header.replace('"t"', '"u"'), data) == (0, ["t", "u"])

# SPDX-License-Identifier: Apache-2.0
"""Several ranks share the reading of a checkpoint with gloo, and none of them hangs when one fails."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support import Mount
from test_safe_open import Spec, checkpoint_file, expected, raw

pytest.importorskip("torch")

SCRIPT = Path(__file__).parent / "ranks_load.py"
#: Larger than several windows of 2 MiB, with tensors that span windows and files.
SPEC: Spec = [
    *[(f"t{n}.large", "BF16", (1000 + n, 1100)) for n in range(6)],
    *[(f"t{n}.small.{k}", "F32", (k, 5)) for n in range(6) for k in range(20)],
    ("t0.scalar", "F64", ()),
    ("t1.odd", "U8", (12345,)),
]


@pytest.fixture
def checkpoint(mount: Mount) -> Mount:
    mount.write("m.safetensors", checkpoint_file(SPEC))
    mount.write("n.safetensors", checkpoint_file([("n." + name, d, s) for name, d, s in SPEC], 2))
    mount.write("other/m.safetensors", checkpoint_file(SPEC[:3]))
    return mount


def start(ranks: int, mount: Mount, how: str, scratch: Path) -> List["subprocess.Popen[str]"]:
    return [
        subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), str(rank), str(ranks), str(scratch / "store"), str(mount.path), how],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BACKING": str(mount.backing), "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(ranks)
    ]


def results(processes: List["subprocess.Popen[str]"]) -> List[Dict[str, Any]]:
    """What each of them printed; {} of one that was killed."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=90)
        assert process.returncode in (0, -9), err
        found.append(json.loads(out.splitlines()[-1]) if process.returncode == 0 else {})
    return found


def load(ranks: int, mount: Mount, how: str, scratch: Path) -> List[Dict[str, Any]]:
    return results(start(ranks, mount, how, scratch))


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_rank_gets_every_tensor_and_reads_its_part(checkpoint: Mount, scratch: Path, ranks: int) -> None:
    want = {name: hashlib.sha256(raw(tensor)).hexdigest() for name, tensor in expected(checkpoint).items()}
    found = load(ranks, checkpoint, "well", scratch)
    for result in found:
        assert result["error"] == ""
        assert result["got"] == want
        info = result["info"]
        assert (info["transport"], info["bytes_posix"], info["ranks"]) == ("usrbio", 0, ranks)
        # Two windows beside the tensors, and its own part alone.
        assert info["window_bytes"] == 2 * info["window"] <= 2 * (2 << 20)
    parts = [result["info"]["bytes"] for result in found]
    assert sum(parts) == found[0]["info"]["bytes_wanted"]
    assert max(parts) / min(parts) <= 1.01


def test_with_a_filter_each_reads_its_own(checkpoint: Mount, scratch: Path) -> None:
    found = load(2, checkpoint, "filter", scratch)
    for rank, result in enumerate(found):
        assert result["error"] == ""
        assert sorted(result["got"]) == sorted(name for name, _, _ in SPEC if name.startswith(f"t{rank}."))
        assert result["info"]["bytes"] == result["info"]["bytes_wanted"]


@pytest.mark.parametrize(
    ("how", "said_by_others"),
    [
        ("leave", "rank 1 left before the last tensor"),
        ("raise", "rank 1 failed: KeyError"),
        ("before", "rank 1 failed: KeyError"),
        ("nowhere", "rank 1 failed: FileNotFoundError"),
        ("signal", "rank 1 failed: KeyboardInterrupt"),
        ("other", "rank 1 has opened other tensors"),
        ("hang", "rank 0 waited 8 s at window"),
        ("kill", "rank 0 at window"),
    ],
)
def test_a_rank_that_does_not_go_on_ends_the_others(
    checkpoint: Mount, scratch: Path, how: str, said_by_others: str
) -> None:
    found = load(2, checkpoint, how, scratch)
    assert said_by_others in found[0]["error"]
    assert found[0]["seconds"] < 60


def test_a_rank_that_fails_when_all_was_exchanged_keeps_nobody(checkpoint: Mount, scratch: Path) -> None:
    well, failed = load(2, checkpoint, "late", scratch)
    assert (well["error"], len(well["got"])) == ("", 2 * len(SPEC))
    assert failed["error"].startswith("KeyError")


def test_a_second_time_ends_the_first(checkpoint: Mount, scratch: Path) -> None:
    for result in load(2, checkpoint, "again", scratch):
        assert (result["error"], len(result["got"])) == ("", 2 * len(SPEC))


def test_a_rank_whose_file_is_broken_names_itself_and_its_error(checkpoint: Mount, scratch: Path) -> None:
    found = load(2, checkpoint, "truncate", scratch)
    errors = [result["error"] for result in found]
    assert all("m.safetensors" in error for error in errors), errors
    assert any("ValueError" in error or "rank" in error for error in errors)


def test_one_rank_reads_as_if_there_were_no_group(checkpoint: Mount, scratch: Path) -> None:
    (result,) = load(1, checkpoint, "well", scratch)
    assert result["error"] == ""
    assert len(result["got"]) == 2 * len(SPEC)
    assert "ranks" not in result["info"]

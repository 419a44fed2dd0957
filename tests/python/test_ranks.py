# SPDX-License-Identifier: Apache-2.0
"""Several ranks share the reading of a checkpoint with gloo, and none of them hangs when one fails."""

import hashlib
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from forked import Forked
from support import Mount
from test_safe_open import Spec, checkpoint_file, expected, raw

pytest.importorskip("torch")

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


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    started = Forked(Path(__file__).with_name("ranks_cases.py"), GLOO_SOCKET_IFNAME="lo")
    yield started
    started.stop()


def load(forked: Forked, ranks: int, mount: Mount, how: str, scratch: Path) -> List[Dict[str, Any]]:
    """What each of them came back with; {} of one that was killed."""
    folders = {"directory": str(mount.path), "backing": str(mount.backing)}
    forked.ask("load", ranks=ranks, store=str(scratch / "store"), how=how, **folders)
    answers = forked.answers()
    for answer in answers:
        assert answer.error in ("", "it ended with -9"), answer.log
    return [answer.result or {} for answer in answers]


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_rank_gets_every_tensor_and_reads_its_part(
    forked: Forked, checkpoint: Mount, scratch: Path, ranks: int
) -> None:
    want = {name: hashlib.sha256(raw(tensor)).hexdigest() for name, tensor in expected(checkpoint).items()}
    found = load(forked, ranks, checkpoint, "well", scratch)
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


def test_with_a_filter_each_reads_its_own(forked: Forked, checkpoint: Mount, scratch: Path) -> None:
    found = load(forked, 2, checkpoint, "filter", scratch)
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
        ("hang", "rank 0 waited 3 s at window"),
        ("kill", "rank 0 at window"),
    ],
)
def test_a_rank_that_does_not_go_on_ends_the_others(
    forked: Forked, checkpoint: Mount, scratch: Path, how: str, said_by_others: str
) -> None:
    found = load(forked, 2, checkpoint, how, scratch)
    assert said_by_others in found[0]["error"]
    assert found[0]["seconds"] < 60


def test_a_rank_that_fails_when_all_was_exchanged_keeps_nobody(
    forked: Forked, checkpoint: Mount, scratch: Path
) -> None:
    well, failed = load(forked, 2, checkpoint, "late", scratch)
    assert (well["error"], len(well["got"])) == ("", 2 * len(SPEC))
    assert failed["error"].startswith("KeyError")


def test_a_second_time_ends_the_first(forked: Forked, checkpoint: Mount, scratch: Path) -> None:
    for result in load(forked, 2, checkpoint, "again", scratch):
        assert (result["error"], len(result["got"])) == ("", 2 * len(SPEC))


def test_a_rank_whose_file_is_broken_names_itself_and_its_error(
    forked: Forked, checkpoint: Mount, scratch: Path
) -> None:
    found = load(forked, 2, checkpoint, "truncate", scratch)
    errors = [result["error"] for result in found]
    assert all("m.safetensors" in error for error in errors), errors
    assert any("ValueError" in error or "rank" in error for error in errors)


def test_one_rank_reads_as_if_there_were_no_group(forked: Forked, checkpoint: Mount, scratch: Path) -> None:
    (result,) = load(forked, 1, checkpoint, "well", scratch)
    assert result["error"] == ""
    assert len(result["got"]) == 2 * len(SPEC)
    assert "ranks" not in result["info"]

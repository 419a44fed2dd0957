# SPDX-License-Identifier: Apache-2.0
"""fst3fs bench, and fst3fs completion."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import fst3fs
import pytest
from support import KIB, MIB, Mount, random_bytes

from fastsafetensor_3fs_reader.cli import main
from fastsafetensor_3fs_reader.cli.bench.rows import PLANS, Row, find_files
from fastsafetensor_3fs_reader.cli.bench.verdict import judge
from fastsafetensor_3fs_reader.cli.bench.worker import KERNEL, MEMORY, NOWHERE

LINK = ("--null", "--latency-us", "500", "--bandwidth-mbps", "4000", "--job-mbps", "500")


def test_every_row_is_read_and_the_verdict_follows(serve: Callable) -> None:
    mount: Mount = serve(*LINK)
    for i in range(3):
        mount.write(f"m/{i}.safetensors", random_bytes(32 * MIB))
    result = fst3fs.result("bench", "--seconds", "0.1", str(mount.path / "m"))
    assert (result["mount_point"], result["files"], result["bytes"]) == (str(mount.path), 3, 96 * MIB)
    assert [(r["way"], r["processes"], r["buffer_size"], r["entries"]) for r in result["rows"]] == [
        tuple(p) for p in PLANS
    ]
    assert all(row["nbytes"] > 0 for row in result["rows"])
    stats = mount.stats()
    assert stats["bytes"] >= sum(row["nbytes"] for row in result["rows"] if row["way"] != KERNEL)
    assert stats["violations"] == 0
    assert result["link"] == max(row["rate"] for row in result["rows"] if row["way"] == NOWHERE)


def test_the_table_for_people(mount: Mount) -> None:
    path = mount.write("a", random_bytes(MIB))
    done = fst3fs.run("bench", "--seconds", "0.05")
    if "several 3FS" not in done.stderr:  # those of other tests on this machine
        assert f"1 files of 1.0 MB on {mount.path}" in done.stderr
    done = fst3fs.run("bench", "--seconds", "0.05", path)
    assert done.returncode == 0, done.stderr
    table, words = done.stdout.split("\n\n")
    heading, *rows = table.splitlines()
    assert heading.split()[:3] == ["WAY", "PROCESSES", "BUFFER"]
    assert len(rows) == len(PLANS)
    assert words.startswith("One process")


@pytest.mark.parametrize("seconds", ["0", "nan", "soon"])
def test_wrong_seconds(seconds: str) -> None:
    assert fst3fs.run("bench", "--seconds", seconds).returncode == 2


def test_off_3fs(scratch: Path) -> None:
    done = fst3fs.run("bench", str(scratch))
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{scratch}: not on a 3FS mount" in done.stderr


def test_nothing_to_read(mount: Mount) -> None:
    done = fst3fs.run("bench", str(mount.path))
    assert done.returncode == 3
    assert f"{mount.path}: no file to read" in done.stderr


def test_a_daemon_that_fails(serve: Callable) -> None:
    mount: Mount = serve("--fail-every", "1")
    done = fst3fs.run("bench", "--seconds", "0.05", mount.write("a", random_bytes(MIB)))
    assert (done.returncode, done.stdout) == (3, "")
    assert "a process of the benchmark: " in done.stderr


def test_which_files(scratch: Path) -> None:
    for name, size in (("b/large", 20 * MIB), ("a/large", 16 * MIB), ("small", KIB)):
        path = scratch / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    assert [Path(path).name for path, _ in find_files(str(scratch / "m" / "a"))] == ["large"]
    assert find_files(str(scratch / "m")) == [
        (f"{scratch}/m/{x}/large", size) for x, size in (("a", 16 * MIB), ("b", 20 * MIB))
    ]
    assert find_files(str(scratch / "m" / "small")) == [(f"{scratch}/m/small", KIB)]


# ------------------------------------------------------------------ the verdict


def measured(rates: List[float], memory: float = 3.9, kernel: float = 0.5, busy: float = 0.1) -> List[Row]:
    """Rows in GB/s, in the order of the plans, with a CPU that is busy for that share of the time."""
    return [
        Row(*plan, rate=rate * 1e9, nbytes=int(rate * 1e9), cpu_s=busy * plan.processes, requests=1, window=1)
        for plan, rate in zip(PLANS, [*rates, memory, kernel])
    ]


def test_full_by_default() -> None:
    verdict = judge(measured([2.0, 3.9, 3.95, 3.9, 4.0, 4.0]))
    assert (verdict.full, verdict.settings, verdict.link) == (True, {}, 4.0e9)
    text = " ".join(verdict.words)
    for part in (
        "One process fills",
        "3.95 GB/s with the defaults",
        "nothing to change",
        "16 MiB of buffer would do: 3.90",
    ):
        assert part in text
    assert "Copies do not hold it back" in text
    assert "USRBIO is 7.9 times as fast" in text


def test_full_with_a_larger_buffer() -> None:
    verdict = judge(measured([0.5, 1.0, 2.5, 3.9, 3.9, 4.0]))
    assert (verdict.full, verdict.settings) == (True, {"buffer_size": 256 * MIB, "entries": 256})
    assert (
        "with buffer_size=268435456 (256 MiB) and entries=256: 3.90 GB/s; the defaults reach 2.50" in verdict.words[0]
    )


@pytest.mark.parametrize(("busy", "why"), [(0.97, "busy for 97%"), (0.1, "not its core")])
def test_not_full(busy: float, why: str) -> None:
    verdict = judge(measured([0.5, 0.98, 1.0, 1.0, 3.9, 4.0], memory=0.7, busy=busy))
    assert (verdict.full, verdict.settings) == (False, {"processes": 4, "buffer_size": 64 * MIB})
    assert "4 processes reach 3.90 GB/s together" in verdict.words[0]
    assert why in verdict.words[1]
    assert "Copies hold it back: into ordinary host memory it is 0.70 GB/s" in " ".join(verdict.words)


def test_what_was_left_out() -> None:
    rows = [row for row in measured([3.0, 3.0, 3.0, 3.0, 3.0, 3.0]) if row.buffer_size == 8 * MIB or row.way == MEMORY]
    assert judge(rows).full


# ------------------------------------------------------------------ completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script(shell: str) -> None:
    done = fst3fs.run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "doctor" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes() -> None:
    script = fst3fs.run("completion", "bash").stdout
    ask = f"""{script}
COMP_WORDS=(fst3fs doc); COMP_CWORD=1; _shtab_fst3fs; echo "${{COMPREPLY[@]}}"
COMP_WORDS=(fst3fs ls --t); COMP_CWORD=2; _shtab_fst3fs; echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["doctor", "--tree"], done.stderr


def test_without_shtab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 3
    assert "pip install 'fastsafetensor-3fs-reader[cli]'" in capsys.readouterr().err

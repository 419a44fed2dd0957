# SPDX-License-Identifier: Apache-2.0
"""The benchmark at work: its processes, what fails in them, and whole sweeps over real mounts."""

import contextlib
import csv
import multiprocessing.resource_tracker
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import cache
import pytest
from args import parse
from grid import Range, Run
from place import Place, verify
from serve import MIB, generate
from support import ROOT, Mount, eventually
from sweep import Sweep
from team import SampleError, Team, run_sample
from ways import Reading, Way, backend
from worker import Job, Ready, measure

BENCHMARK = ROOT / "hack" / "benchmark"
RUNNER = BENCHMARK / "benchmark_runner.py"


@pytest.fixture(scope="session", autouse=True)
def tracker() -> None:
    """What multiprocessing starts once for a process and keeps is nothing that a test leaves."""
    multiprocessing.resource_tracker.ensure_running()


# ------------------------------------------------------------------ ways that go wrong, in processes of their own


class Dies(Reading):
    def read(self, path: str, offset: int, length: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return length


class ReadsTooLittle(Reading):
    def read(self, path: str, offset: int, length: int) -> int:
        return length - 1


class DeliversOtherBytes(Reading):
    def read(self, path: str, offset: int, length: int) -> int:
        return length

    def delivered(self, length: int) -> bytes:
        return bytes(length)


def way(reading: type) -> Way:
    return Way(reading.__name__, __name__, reading.__name__)


def dies_before_it_is_ready(job: Job, pipe: "Connection[object, object]") -> None:
    if job.warmup:
        os._exit(3)
    measure(job, pipe)  # type: ignore[arg-type]


# ------------------------------------------------------------------ fixtures


@pytest.fixture
def place(mount: Mount) -> Place:
    names = generate(str(mount.backing), 3, 3 * MIB + 17)
    files = [Range(str(mount.path / name), 4096, 3 * MIB + 17 - 4096) for name in names]
    return Place(str(mount.path), files, files, files[0], str(mount.path), None)


def job(place: Place, way: Way, share: List[Range], **changes: Any) -> Job:
    run = Run("read_chunked", way.name, 1, MIB, 0)
    return Job(run, way, tuple(share), place.mount_point, "host", 0)._replace(**changes)


def sweep_of(place: Place, *ways: Way, iterations: int = 2, processes: int = 2) -> Sweep:
    options = parse(["--mount-point", place.mount_point, "--iterations", str(iterations), "--dest", "host"])
    runs = [Run("read_chunked", way.name, processes, MIB, 0) for way in ways]
    return Sweep(options, place, ways, runs, 0)


def run(sweep: Sweep) -> List[str]:
    """Runs it; the ways in the order in which they were measured."""
    order: List[str] = []
    sweep.run(lambda run: order.append(run.way), lambda: None)
    return order


# ------------------------------------------------------------------ processes


def test_each_process_reads_its_share_through_usrbio(place: Place) -> None:
    jobs = [job(place, backend("c"), [file]) for file in place.files]
    ready, done = run_sample(jobs)
    assert [type(r) for r in ready] == [Ready] * 3
    assert [d.nbytes for d in done] == [file.length for file in place.files]
    assert len({d.start for d in done}) == 1
    assert all(d.end > d.start and d.info["transport"] == "usrbio" for d in done)
    # Readers are made before the clock starts.
    assert all(r.make_s > 0 for r in ready)


def test_a_worker_that_dies_before_the_start_ends_the_sample_of_all(place: Place) -> None:
    jobs = [job(place, backend("mock"), [file], warmup=n == 1) for n, file in enumerate(place.files)]
    with pytest.raises(SampleError, match=r"process 2 of 3 died: exit status 3"):
        with Team(dies_before_it_is_ready, jobs) as team:
            team.collect(Ready)


def test_a_worker_that_is_killed_in_a_read_is_named_with_its_signal(place: Place) -> None:
    jobs = [job(place, way(Dies), [file]) for file in place.files]
    with pytest.raises(SampleError, match=r"process \d of 3 died: signal 9 \(Killed\)"):
        run_sample(jobs)


def test_fewer_bytes_than_there_are_is_an_error(place: Place) -> None:
    with pytest.raises(SampleError, match=r"model-00001-of-00003\.safetensors: \d+ of \d+ bytes at 4096"):
        run_sample([job(place, way(ReadsTooLittle), place.files)])


def test_a_process_with_nothing_to_read_is_fine(place: Place) -> None:
    _, done = run_sample([job(place, backend("c"), place.files[:1]), job(place, backend("c"), [])])
    assert [(d.files, d.nbytes > 0) for d in done] == [(1, True), (0, False)]


def test_a_team_leaves_no_process(place: Place) -> None:
    with Team(measure, [job(place, backend("c"), [file]) for file in place.files]) as team:
        team.collect(Ready)
        pids = [process.pid for process in team._processes]
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    # They waited for a start that never came.
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


# ------------------------------------------------------------------ the sweep


def test_samples_of_all_combinations_are_interleaved(place: Place) -> None:
    sweep = sweep_of(place, backend("mock"), backend("c"), iterations=3)
    assert run(sweep) == ["mock", "c"] * 3
    assert [(row.status, len(row.samples)) for row in sweep.rows] == [("ok", 3)] * 2


def test_a_combination_that_fails_is_a_row_and_not_the_end(place: Place) -> None:
    sweep = sweep_of(place, way(Dies), backend("nosuch"), backend("c"))
    run(sweep)
    died, unknown, good = sweep.rows
    assert (died.status, "signal 9" in died.error, died.samples) == ("failed", True, [])
    assert (unknown.status, "unknown backend 'nosuch'" in unknown.error) == ("failed", True)
    assert (good.status, good.samples[0].nbytes) == ("ok", place.total)


def test_each_way_is_seen_to_deliver_the_bytes_of_the_file(place: Place) -> None:
    verdicts = verify(place, [backend("c"), backend("mock"), way(DeliversOtherBytes), way(Dies)], "none")
    assert (verdicts["c"], verdicts["mock"], verdicts["DeliversOtherBytes"]) == (
        *("same bytes", "same bytes"),
        "OTHER BYTES",
    )
    assert verdicts["Dies"].startswith("not verified: process 1 of 1 died")


def test_what_the_kernel_has_cached_is_dropped(place: Place, mount: Mount) -> None:
    path = place.files[0].path
    assert len(Path(path).read_bytes()) == 3 * MIB + 17
    assert mount.stats()["fuse_read_bytes"] > 0
    assert cache.drop([path]) == 0.0
    before = mount.stats()["fuse_read_bytes"]
    assert len(Path(path).read_bytes()) == 3 * MIB + 17
    assert mount.stats()["fuse_read_bytes"] >= before + 3 * MIB


# ------------------------------------------------------------------ whole runs


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the benchmark as people do, with a folder of its own for what it makes on the way."""
    started: List[subprocess.Popen[str]] = []
    (tmp_path / "tmp").mkdir()

    def start(*words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(RUNNER), "--output-dir", str(tmp_path / "out"), "--no-charts", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert list((tmp_path / "tmp").iterdir()) == [], "scratch files or mounts left"


def rows_of(tmp_path: Path) -> List[Dict[str, str]]:
    (path,) = (tmp_path / "out").glob("*.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_sweep_over_a_directory_that_it_serves(
    runner: Callable[..., "subprocess.Popen[str]"], scratch: Path, tmp_path: Path
) -> None:
    generate(str(scratch), 4, MIB)
    process = runner(
        *("--serve", str(scratch), "--link", "100,2000,1000", "--backends", "c,mock", "--dest", "host"),
        *("--buffer-sizes", "1,2", "--chunk-sizes", "0,2", "--num-processes", "1,2", "--iterations", "2"),
        *("--benchmark-op", "both", "--batch-sizes", "2", "--num-threads", "2"),
    )
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    rows = rows_of(tmp_path)
    ours = [r for r in rows if r["way"] == "c" and r["op"] == "read_chunked"]
    assert [(r["buffer_mb"], r["chunk_mb"], r["processes"]) for r in ours] == [
        *[(b, c, p) for p in "12" for b, c in (("1", "0"), ("2", "0"), ("2", "2"))]
    ]
    assert all((r["transport"], r["client"], r["status"]) == ("usrbio", "built-in", "ok") for r in ours)
    assert all(r["verified"] == "same bytes" for r in rows)
    assert all((r["peer"], r["simulated"], len(r["gb_per_s"].split())) == ("0", "1", 2) for r in rows)
    assert all(
        (r["link_latency_us"], r["link_bandwidth_mbps"], r["link_job_mbps"]) == ("100", "2000", "1000") for r in rows
    )
    assert "SIMULATED 3FS" in output
    assert "skipped 2: chunk larger than buffer" in output
    assert "combinations, 2 samples of each, about" in output


def test_a_sweep_beside_what_one_would_use_otherwise(
    runner: Callable[..., "subprocess.Popen[str]"], scratch: Path, tmp_path: Path
) -> None:
    """A sweep of its own: some of them import PyTorch in each of their processes."""
    generate(str(scratch), 2, MIB)
    process = runner(
        *("--serve", str(scratch), "--backends", "c", "--dest", "host", "--peers"),
        *("--buffer-sizes", "1,2", "--num-processes", "2", "--iterations", "1"),
    )
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    rows = rows_of(tmp_path)
    peers = [(r["way"], r["buffer_mb"]) for r in rows if r["peer"] == "1"]
    assert set(peers) >= {("plain read", "1"), ("plain read", "2"), ("safetensors mmap", "")}
    assert [r["way"] for r in rows if r["peer"] == "0"] == ["c", "c"]
    assert all((r["verified"], r["status"], r["simulated"]) == ("same bytes", "ok", "1") for r in rows)
    assert all((r["processes"], len(r["gb_per_s"].split())) == ("2", 1) for r in rows)
    assert "Against what one would use otherwise" in output


def test_bytes_go_to_a_gpu_when_there_is_one(
    runner: Callable[..., "subprocess.Popen[str]"],
    scratch: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_cuda: str,
) -> None:
    generate(str(scratch), 2, MIB)
    monkeypatch.setenv("LD_LIBRARY_PATH", os.path.dirname(fake_cuda))
    process = runner(
        *("--serve", str(scratch), "--backends", "mock,c", "--buffer-sizes", "1", "--num-processes", "2"),
        *("--iterations", "1", "--quiet"),
    )
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "destination: cuda (a GPU is there)" in output
    assert "skipped 1: mock does not reach a GPU" in output
    (row,) = rows_of(tmp_path)
    assert (row["dest"], row["devices"], row["verified"]) == ("cuda", "cuda:0", "same bytes")


def test_a_real_mount_is_measured_where_it_is(
    runner: Callable[..., "subprocess.Popen[str]"], place: Place, mount: Mount, tmp_path: Path
) -> None:
    process = runner(
        *("--mount-point", str(mount.path), "--backends", "c,nosuch", "--dest", "none", "--quiet"),
        *("--buffer-sizes", "1", "--num-processes", "1", "--iterations", "1"),
    )
    output, _ = process.communicate(timeout=100)
    good, failed = rows_of(tmp_path)
    assert (good["way"], good["status"], good["simulated"], good["mount_point"]) == ("c", "ok", "0", str(mount.path))
    assert (failed["way"], failed["status"]) == ("nosuch", "failed")
    assert "unknown backend 'nosuch'" in failed["error"]
    # A sweep with a failure says so to whoever started it.
    assert process.returncode == 1
    assert "best of c" in output


def test_a_mount_without_files_is_refused(
    runner: Callable[..., "subprocess.Popen[str]"], mount: Mount, tmp_path: Path
) -> None:
    process = runner("--mount-point", str(mount.path))
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"{mount.path}/*.safetensors: no file with tensors matches" in errors
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_none_is_named(runner: Callable[..., "subprocess.Popen[str]"], mount: Mount) -> None:
    path = mount.write("x.safetensors", b"no header at all")
    process = runner("--mount-point", str(mount.path))
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert path in errors
    assert "Traceback" not in errors


def _members(group: int) -> List[int]:
    """Processes of a process group that have not ended."""
    members = []
    for entry in Path("/proc").iterdir():
        # One that ended meanwhile is none.
        with contextlib.suppress(ValueError, FileNotFoundError, ProcessLookupError):
            pid = int(entry.name)
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if os.getpgid(pid) == group and state != "Z":
                members.append(pid)
    return members


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_and_reports_what_is_done(
    runner: Callable[..., "subprocess.Popen[str]"], scratch: Path, tmp_path: Path, number: int
) -> None:
    generate(str(scratch), 1, 4 * MIB)
    process = runner(
        *("--serve", str(scratch), "--backends", "c", "--dest", "none", "--buffer-sizes", "1"),
        *("--num-processes", "2", "--iterations", "100000"),
    )
    assert eventually(lambda: list((tmp_path / "out").glob("*.csv")), 60)
    # As the terminal does, to all of them.
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (row,) = rows_of(tmp_path)
    assert row["status"] == "unfinished"
    assert int(row["samples"]) >= 1
    assert "best of c" in output
    assert "interrupted; these are the results until then" in errors
    assert "Traceback" not in errors
    assert eventually(lambda: not _members(process.pid)), "processes left"

# SPDX-License-Identifier: Apache-2.0
"""What the benchmark makes of its samples: rows, CSV, table, charts."""

import csv
import io
from pathlib import Path
from typing import List
from xml.etree import ElementTree

import charts
import pytest
from grid import Run
from report import print_best, print_ratios, print_table, ratios
from results import COLUMNS, Row, Sample, to_sample, write_csv
from rich.console import Console
from serve import MIB
from worker import Done, Ready

GB = 10**9


def sample(gb_per_s: float, files: int = 8) -> Sample:
    return Sample(
        seconds=1.0, nbytes=int(gb_per_s * GB), files=files, cpu_s=0.02, make_s=0.01, resident=0.0, slowest=0.9
    )


def row(way: str, speeds: List[float], *, peer: bool = False, processes: int = 1, **sizes: int) -> Row:
    run = Run("read_chunked", way, processes, **sizes)
    return Row(run, peer, 3, [sample(speed) for speed in speeds], {"transport": "usrbio"})


def sweep() -> List[Row]:
    """As a sweep gives them: sizes, processes, peers, headers, a failure, and one that was interrupted."""
    rows = [
        row("c", [3.8, 3.9, 3.7], processes=n, buffer=b * MIB, chunk=c * MIB)
        for n in (1, 2)
        for b in (8, 16)
        for c in (0, 8)
    ]
    rows += [row("one request", [0.5, 0.49, 0.51], peer=True, processes=n, buffer=8 * MIB) for n in (1, 2)]
    rows += [row("mock", [0.6, 0.7, 0.5], processes=n) for n in (1, 2)]
    rows += [Row(Run("headers_batch", "c", 1, batch=b, threads=8), False, 3, [sample(0.1, b)] * 3) for b in (8, 16)]
    rows.append(Row(Run("read_chunked", "python", 1, 8 * MIB, 8 * MIB), False, 3, error="OSError: it is gone"))
    rows.append(row("c", [3.5], processes=4, buffer=8 * MIB))
    return rows


def shown(show: object, *arguments: object) -> str:
    text = io.StringIO()
    show(Console(file=text, width=200), *arguments)  # type: ignore[operator]
    return text.getvalue()


# ------------------------------------------------------------------ samples


def test_the_clock_runs_from_the_start_to_the_last_ones_end() -> None:
    done = [Done(10.0, 10.5, GB, 1, 0.1, {}), Done(10.0, 12.0, 2 * GB, 1, 0.2, {})]
    made = to_sample([Ready(0.3, 0.0), Ready(0.1, 0.25)], done)
    assert (made.seconds, made.nbytes, made.gb_per_s) == (2.0, 3 * GB, 1.5)
    assert (made.make_s, made.resident, made.slowest) == (0.3, 0.25, 0.5)
    assert made.cpu_s == pytest.approx(0.3)


def test_a_process_without_a_share_is_not_the_slowest() -> None:
    done = [Done(10.0, 11.0, GB, 1, 0.1, {}), Done(10.0, 10.0, 0, 0, 0.0, {})]
    assert to_sample([Ready(0.1, 0.0)] * 2, done).slowest == 1.0


# ------------------------------------------------------------------ CSV


def test_csv_has_every_sample_and_what_numbers_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_csv(str(path), sweep(), {"dest": "none", "simulated": 1})
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "dest", "simulated"]
    assert len(rows) == len(sweep())
    first = rows[0]
    assert first["gb_per_s"].split() == ["3.8000", "3.9000", "3.7000"]
    assert (first["gb_per_s_average"], first["gb_per_s_peak"], first["gb_per_s_median"]) == (
        *("3.8000", "3.9000"),
        "3.8000",
    )
    assert (first["buffer_mb"], first["chunk_mb"], first["processes"], first["status"]) == ("8", "0", "1", "ok")
    assert float(first["cpu_s_per_gb"]) == pytest.approx(0.06 / 11.4, rel=1e-3)
    assert (first["transport"], first["dest"], first["simulated"]) == ("usrbio", "none", "1")


def test_csv_shows_failures_and_what_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_csv(str(path), sweep(), {})
    with path.open(newline="", encoding="utf-8") as file:
        failed, unfinished = list(csv.DictReader(file))[-2:]
    assert (failed["status"], failed["error"], failed["gb_per_s_median"]) == ("failed", "OSError: it is gone", "")
    assert (unfinished["status"], unfinished["samples"]) == ("unfinished", "1")


def test_a_csv_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_csv(str(path), sweep(), {})
    before = path.read_bytes()
    broken = row("c", [1.0])
    broken.samples.append("no sample")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_csv(str(path), [broken], {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


# ------------------------------------------------------------------ the table


def test_the_best_of_each_way_is_marked_once() -> None:
    rows = sweep()
    rows[2] = row("c", [3.99, 3.98, 3.97], buffer=16 * MIB)
    text = shown(print_table, rows, "read_chunked", "SIMULATED 3FS")
    marked = [line for line in text.splitlines() if line.rstrip(" │").endswith("best")]
    assert sorted(line.split("│")[1].strip() for line in marked) == ["c", "mock", "one request"]
    assert any("3.98" in line for line in marked)
    assert "FAILED OSError: it is gone" in text
    assert "2 samples missing" in text
    assert "SIMULATED 3FS" in text


def test_ratios_compare_the_same_buffer_and_processes() -> None:
    pairs = ratios(sweep())
    assert [(ours.run.way, ours.run.buffer, ours.run.processes) for ours, _ in pairs] == [
        ("c", 8 * MIB, 1),
        ("c", 8 * MIB, 2),
    ]
    assert "7.60" in shown(print_ratios, sweep(), "")


def test_the_summary_has_a_line_for_each_way_and_operation() -> None:
    text = shown(print_best, sweep())
    assert "best of c: 16.00 files/s" in text
    assert "best of one request: 0.50 GB/s" in text


# ------------------------------------------------------------------ charts


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Matplotlib keeps the fonts open that it has once used."""
    charts.draw(str(tmp_path_factory.mktemp("fonts") / "x"), sweep(), "", 0.0)


@pytest.fixture(autouse=True)
def nothing_left(fonts: None, nothing_left: None) -> None:
    """The check for what is left, begun after that."""


def test_every_chart_is_drawn_as_png_and_svg_with_axes_and_what_is_simulated(tmp_path: Path) -> None:
    files = charts.draw(str(tmp_path / "x"), sweep(), "SIMULATED 3FS: a link", 4.0)
    names = ("throughput", "heatmap", "scaling", "ways", "headers")
    assert [Path(f).name for f in files] == [f"x-{name}.{suffix}" for name in names for suffix in ("png", "svg")]
    for name in names:
        assert (tmp_path / f"x-{name}.png").read_bytes().startswith(b"\x89PNG")
        text = " ".join(ElementTree.parse(tmp_path / f"x-{name}.svg").getroot().itertext())
        assert "SIMULATED 3FS: a link" in text
        assert "files/s" in text if name == "headers" else "GB/s" in text


def test_charts_without_data_are_left_out(tmp_path: Path) -> None:
    only = [row("c", [3.9], buffer=8 * MIB, chunk=8 * MIB)]
    files = charts.draw(str(tmp_path / "x"), only, "", 0.0)
    assert [Path(f).name for f in files] == ["x-throughput.png", "x-throughput.svg"]
    assert charts.draw(str(tmp_path / "y"), [sweep()[-2]], "", 0.0) == []

# SPDX-License-Identifier: Apache-2.0
"""The benchmark from start to end: a place, a grid, a sweep, and its results."""

import os
import signal
import sys
import time
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Dict, List, Optional, Sequence, Tuple

import gpu
import machine
from args import Options, parse
from grid import Grid, Run, build, estimate_s
from place import Place, open_place, verify
from report import print_best, print_ratios, print_table
from results import FAILED, Row, write_csv
from rich.console import Console
from sweep import Sweep
from tqdm import tqdm
from ways import WAYS, Way, backend

import fastsafetensor_3fs_reader

FAKE = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", "..", "tests", "fakes", "hf3fs_fuse"))
#: Our library with the ABI of the official one.
DROP_IN = os.path.join(os.path.dirname(fastsafetensor_3fs_reader.__file__), "lib")
INTERRUPTED = 130


def _terminate(signum: int, frame: object) -> None:
    """SIGTERM ends the sweep as Ctrl-C does: what is done is reported and everything cleared away."""
    raise KeyboardInterrupt


# ------------------------------------------------------------------ before


def _stand_in(options: Options, console: Console) -> None:
    """On a simulated 3FS without hf3fs_fuse, the one that the tests use, over our library. Workers inherit both."""
    if options.serve is None or find_spec("hf3fs_fuse") is not None or not os.path.isdir(FAKE):
        return
    sys.path.append(FAKE)
    # Behind what the user has chosen, and no wish that the C backend would follow.
    folders = [os.environ.get("LD_LIBRARY_PATH", ""), DROP_IN]
    os.environ["LD_LIBRARY_PATH"] = ":".join(folder for folder in folders if folder)
    console.print("hf3fs_fuse is not installed: using the stand-in of the tests", soft_wrap=True)


def _choose_ways(options: Options, console: Console) -> List[Way]:
    """The backends asked for, and the peers that can be measured here; the others are named."""
    _stand_in(options, console)
    ways = [backend(name) for name in options.backends]
    if not options.peers:
        return ways
    for way in WAYS:
        missing = way.missing()
        if missing:
            console.print(f"{way.name}: not measured, {', '.join(missing)} not installed", markup=False, soft_wrap=True)
        else:
            ways.append(way)
    return ways


def _choose_dest(options: Options, gpus: int, console: Console) -> Options:
    """Aloud, because it decides what the numbers mean."""
    dest = options.dest or ("cuda" if gpus else "host")
    if dest == "cuda" and not gpus:
        raise RuntimeError("--dest cuda: no GPU can be used here")
    why = "" if options.dest else " (a GPU is there)" if gpus else " (no GPU is there)"
    console.print(f"destination: {dest}{why}", soft_wrap=True)
    return options._replace(dest=dest)


def _announce(console: Console, place: Place, grid: Grid, options: Options, ways: Sequence[Way]) -> None:
    seconds = estimate_s(grid, options, ways, place.total)
    console.print(place.describe(), markup=False, soft_wrap=True)
    console.print(
        f"{len(grid.runs)} combinations, {options.iterations} samples of each, about {max(1, round(seconds / 60))} min",
        soft_wrap=True,
    )
    for reason, count in grid.skipped.items():
        console.print(f"skipped {count}: {reason}", markup=False, soft_wrap=True)


def _verify(console: Console, place: Place, ways: Sequence[Way], dest: str) -> Dict[str, str]:
    verdicts = verify(place, ways, dest)
    for name, verdict in verdicts.items():
        console.print(f"{name}: {verdict}", markup=False, soft_wrap=True)
    return verdicts


# ------------------------------------------------------------------ the sweep


class _Output:
    """The files of one sweep. The CSV is whole after every sample."""

    def __init__(self, folder: str, common: Dict[str, object]) -> None:
        os.makedirs(folder, exist_ok=True)
        self.stem = os.path.join(folder, time.strftime("benchmark-%Y%m%d-%H%M%S"))
        self.csv = f"{self.stem}.csv"
        self._common = common

    def write(self, rows: Sequence[Row]) -> None:
        write_csv(self.csv, rows, self._common)


def _sweep(sweep: Sweep, output: _Output, options: Options, runs: Sequence[Run]) -> bool:
    """Whether it came to its end."""
    with tqdm(total=len(runs) * options.iterations, unit="sample", disable=options.quiet, dynamic_ncols=True) as bar:

        def progress(run: Run) -> None:
            bar.set_postfix_str(run.label(), refresh=False)
            bar.update()

        try:
            sweep.run(progress, lambda: output.write(sweep.measured()))
        except KeyboardInterrupt:
            return False
    return True


def _chart(console: Console, output: _Output, rows: Sequence[Row], place: Place) -> None:
    try:
        import charts  # noqa: PLC0415 (--no-charts does without matplotlib)
    except ImportError as e:
        console.print(f"no charts: {e}; they need: pip install 'fastsafetensor-3fs-reader[bench]'", soft_wrap=True)
        return
    link = place.served.link.bandwidth_mbps / 1e3 if place.served else 0.0
    for path in charts.draw(output.stem, rows, place.describe(), link):
        console.print(path, markup=False, soft_wrap=True)


def _report(console: Console, options: Options, rows: Sequence[Row], place: Place) -> None:
    # A table that is cut to the width of a pipe helps nobody.
    wide = console if console.is_terminal else Console(width=160, highlight=False)
    if not options.quiet:
        for op in options.ops:
            print_table(wide, rows, op, place.describe())
    print_ratios(wide, rows, place.describe())
    print_best(console, rows)


def _status(rows: Sequence[Row], verdicts: Dict[str, str], finished: bool) -> int:
    if not finished:
        return INTERRUPTED
    wrong = any(verdict != "same bytes" for verdict in verdicts.values())
    return int(wrong or any(row.status == FAILED for row in rows))


def _measure(stack: ExitStack, options: Options, console: Console) -> Tuple[int, _Output]:
    gpus = gpu.count()
    options = _choose_dest(options, gpus, console)
    ways = _choose_ways(options, console)
    with tqdm(
        total=options.generate, unit="B", unit_scale=True, desc="write", leave=False, disable=options.quiet
    ) as bar:
        place = open_place(stack, options, bar.update)
    grid = build(options, ways, len(place.files), len(place.small))
    if not grid.runs:
        raise ValueError("no combination is left: " + "; ".join(grid.skipped))
    facts = machine.facts()
    console.print(machine.describe(facts), markup=False, soft_wrap=True)
    _announce(console, place, grid, options, ways)
    used = {run.way for run in grid.runs}
    verdicts = _verify(console, place, [way for way in ways if way.name in used], str(options.dest))
    common = {"dest": options.dest, "warmup": options.warmup, **place.facts(), **facts}
    output = _Output(options.output_dir, common)
    sweep = Sweep(options, place, ways, grid.runs, gpus)
    for row in sweep.rows:
        row.verified = verdicts[row.run.way]
    finished = _sweep(sweep, output, options, grid.runs)
    rows = sweep.measured()
    _report(console, options, rows, place)
    if options.charts and rows:
        _chart(console, output, rows, place)
    return _status(rows, verdicts, finished), output


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the benchmark; the exit status."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    console = Console(highlight=False)
    try:
        with ExitStack() as stack:
            status, output = _measure(stack, options, console)
    except (OSError, ValueError, RuntimeError) as e:
        print(f"benchmark: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: interrupted before there were results; everything is cleared away", file=sys.stderr)
        return INTERRUPTED
    if status == INTERRUPTED:
        print("benchmark: interrupted; these are the results until then", file=sys.stderr)
    console.print(output.csv, markup=False, soft_wrap=True)
    return status

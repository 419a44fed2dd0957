# SPDX-License-Identifier: Apache-2.0
"""What this package promises, measured: `make bench`.

Each row is a ratio of two things measured in turn in this run, on usrbiod, or on a real mount with --mount-point. The
exit status is 0 whether or not a target was met: a measurement is no test.
"""

import argparse
import glob
import os
import platform
import sys
import time
from typing import Callable, Iterator, List, Optional

from copier_rows import SETS as COPIER_SETS
from fresh_rows import SETS as FRESH_SETS
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rows import SETS as BYTE_SETS
from rows import Place, Plan, Row, bytes_at
from tensor_rows import SETS as TENSOR_SETS

import fastsafetensor_3fs_reader

SETS = {**BYTE_SETS, **FRESH_SETS, **TENSOR_SETS, **COPIER_SETS}
#: What runs when nothing is selected; the others are for whoever wants to choose a constant anew.
USUAL = [name for name in SETS if name not in ("sweep", "gap")]


def machine() -> str:
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} x {model}, {memory} GiB, Linux {platform.release()}, load {load:.2f};"
        f" version {fastsafetensor_3fs_reader.__version__}"
    )


def parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=3, help="samples for each row; the median counts (3)")
    parser.add_argument("--rows", default=",".join(USUAL), help=f"which sets of rows: {', '.join(SETS)}")
    parser.add_argument("--mount-point", help="measure the *.safetensors in this directory of a real 3FS instead")
    parser.add_argument("--verbose", action="store_true", help="print every point of the sweeps")
    args = parser.parse_args(argv)
    unknown = [name for name in args.rows.split(",") if name not in SETS]
    if unknown:
        parser.error(f"no such rows: {', '.join(unknown)}; there are {', '.join(SETS)}")
    if args.iterations < 1:
        parser.error("--iterations must be at least 1")
    return args


def real_place(directory: str) -> Place:
    mount_point = fastsafetensor_3fs_reader.extract_mount_point(directory)
    if not mount_point:
        raise SystemExit(f"{directory} is on no 3FS mount")
    paths = sorted(glob.glob(os.path.join(glob.escape(directory), "*.safetensors")))
    if not paths:
        raise SystemExit(f"{directory} has no *.safetensors")
    return Place(mount_point, paths, 0.0)


def measured(args: argparse.Namespace, plan: Plan) -> Iterator[Row]:
    if args.mount_point:
        yield from bytes_at(plan, real_place(args.mount_point))
        return
    for name in args.rows.split(","):
        work: Callable[[Plan], Iterator[Row]] = SETS[name]
        yield from work(plan)


def verdict(row: Row) -> str:
    return {None: "", True: "[green]met[/]", False: "[red]MISSED[/]"}[row.met]


def target_text(row: Row) -> str:
    if row.target is None:
        return "report" if row.ratio is not None else ""
    return f"{'<=' if row.at_most else '>='} {row.target:g}"


def ratio_text(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.4g}"


def main(argv: Optional[List[str]] = None) -> int:
    args = parse(argv)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(machine(), highlight=False)
    say = (lambda line: console.print(f"    {line}", highlight=False)) if args.verbose else (lambda line: None)
    start = time.monotonic()
    table = Table("row", "target", "result", "", "samples", box=None, pad_edge=False)
    for row in measured(args, Plan(args.iterations, say)):
        if sys.stderr.isatty():
            print(f"{row.name}: {ratio_text(row)}", file=sys.stderr)
        table.add_row(escape(row.name), target_text(row), ratio_text(row), verdict(row), escape(row.detail))
    console.print(table)
    where = f"on {args.mount_point}" if args.mount_point else "on usrbiod; LINK and the 3 GB/s link are simulated"
    console.print(f"{where}; {time.monotonic() - start:.0f} s", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

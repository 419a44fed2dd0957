# SPDX-License-Identifier: Apache-2.0
"""fst3fs bench: within a minute, is this node's link full from one process, and which setting to change."""

import argparse
import math
import os
from typing import List, Optional

from ...backend import extract_mount_point
from .. import exits
from ..doctor.mountinfo import mounts
from ..output import bytes_text, columns, note, print_json
from . import rows
from .verdict import Verdict, judge
from .worker import KERNEL

HELP = "within a minute: is this node's link full from one process, with how much buffer, what to change"
HAS_JSON = True


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and 0.05 <= value <= 3600):
        raise ValueError
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="a model on 3FS; default: what lies on the only 3FS mount"
    )
    parser.add_argument("--seconds", type=_seconds, default=3.0, metavar="N", help="for each row (default: 3)")


def _place(path: Optional[str]) -> str:
    """The path, or the only 3FS that is mounted."""
    if path is not None:
        return path
    points = list(dict.fromkeys(m.point for m in mounts() if m.is_3fs and not m.is_part and not m.is_virtual))
    if len(points) == 1:
        return points[0]
    if points:
        raise ValueError(f"several 3FS are mounted: which of {', '.join(points)}?")
    raise OSError("no 3FS is mounted here: fst3fs doctor says more; to try without one: fst3fs serve DIR MOUNT")


def _mount(path: str) -> str:
    mount = extract_mount_point(path)
    if not mount:
        raise OSError(f"{path}: not on a 3FS mount, so there is no link to fill; fst3fs doctor {path} says more")
    return mount


def _table(measured: List[rows.Row], link: float) -> str:
    lines = [["WAY", "PROCESSES", "BUFFER", "ENTRIES", "GB/s", "OF THE BEST", "CPU s/GB"]]
    for row in measured:
        usrbio = row.way != KERNEL
        lines.append(
            [
                rows.WAYS[row.way],
                str(row.processes),
                f"{row.buffer_size >> 20} MiB",
                str(row.entries) if usrbio else "-",
                f"{row.rate / 1e9:.2f}",
                f"{row.rate / link:.0%}" if link else "-",
                f"{row.cpu_s / row.nbytes * 1e9:.3f}" if row.nbytes else "-",
            ]
        )
    return columns(lines, right=range(1, 7))


def _as_dict(path: str, mount: str, files: rows.Files, measured: List[rows.Row], verdict: Verdict) -> object:
    return {
        "path": path,
        "mount_point": mount,
        "files": len(files),
        "bytes": sum(size for _, size in files),
        "rows": [row._asdict() for row in measured],
        **verdict._asdict(),
    }


def run(args: argparse.Namespace) -> int:
    path = _place(args.path)
    os.stat(path)
    mount = _mount(path)
    files = rows.find_files(path)
    note(f"{len(files)} files of {bytes_text(sum(size for _, size in files))} on {mount}")
    measured = rows.measure(mount, files, args.seconds)
    verdict = judge(measured)
    if args.json:
        print_json(_as_dict(path, mount, files, measured, verdict))
    else:
        print(_table(measured, verdict.link))
        print()
        print("\n".join(verdict.words))
    return exits.OK

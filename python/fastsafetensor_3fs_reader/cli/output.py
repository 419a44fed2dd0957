# SPDX-License-Identifier: Apache-2.0
"""Results on stdout, notes on stderr."""

import json
import os
import sys
from typing import IO, Optional, Sequence

PROGRAM = "fst3fs"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def note(text: str) -> None:
    """For people, beside the result."""
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def print_json(value: object, pretty: bool = True) -> None:
    """``pretty`` is for what people read as well: it is slow for many thousand rows."""
    print(json.dumps(value, indent=2 if pretty else None))


def bytes_text(count: float) -> str:
    """In powers of ten, as links and disks are sold: 17.2 GB."""
    for unit in _UNITS:
        if abs(count) < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes everything")


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows as aligned columns, those numbered in ``right`` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    line = "  ".join(f"{{:{'>' if i in right else '<'}{width}}}" for i, width in enumerate(widths))
    return "\n".join(line.format(*row).rstrip() for row in rows)


def has_colour(stream: Optional[IO[str]]) -> bool:
    """https://no-color.org"""
    return (
        stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )

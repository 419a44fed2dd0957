# SPDX-License-Identifier: Apache-2.0
"""fst3fs doctor: does it work here, and what to do when it does not. It never hangs itself."""

import argparse
import sys

from ...version import __version__
from .. import exits
from ..output import has_colour, print_json
from . import engines, gpu, library, machine, mount
from .lines import is_healthy, page, verdict

HELP = "does it work here: one page, and what to do about each thing that is not well"
HAS_JSON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", metavar="PATH", help="a model on 3FS; without it, every 3FS mount")


def run(args: argparse.Namespace) -> int:
    lines = [
        *mount.lines(args.path),
        *machine.lines(library.is_wanted()),
        *library.lines(),
        *gpu.lines(),
        *engines.lines(),
    ]
    if args.json:
        healthy = is_healthy(lines)
        print_json({"version": __version__, "healthy": healthy, "lines": [line.as_dict() for line in lines]})
    else:
        print(page(lines, has_colour(sys.stdout)))
        print(verdict(lines))
    return exits.OK if is_healthy(lines) else exits.FOUND

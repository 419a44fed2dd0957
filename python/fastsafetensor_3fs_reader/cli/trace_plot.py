# SPDX-License-Identifier: Apache-2.0
"""fst3fs trace-plot: a trace as a picture, and what it says in words."""

import argparse
import os

from .. import traceplot
from . import exits
from .output import bytes_text, note, print_json

HELP = "draw a trace that FST3FS_TRACE wrote, and say what held the reading back"
HAS_JSON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="the file that FST3FS_TRACE named")
    parser.add_argument("--output", metavar="PICTURE", help="a .png or .svg file (default: beside TRACE, .png)")


def run(args: argparse.Namespace) -> int:
    trace = traceplot.load(args.trace)
    verdict = traceplot.judge(trace)
    picture = args.output or f"{os.path.splitext(args.trace)[0]}.png"
    if not picture.endswith((".png", ".svg")):
        raise ValueError(f"{picture}: a picture ends in .png or .svg")
    size = bytes_text(trace.bytes)
    traceplot.plot(
        trace, picture, f"{size} in {trace.seconds:.3g} s, {verdict.in_flight:.1f} requests in flight on average"
    )
    if args.json:
        print_json({"picture": picture, "seconds": trace.seconds, "bytes": trace.bytes, **verdict._asdict()})
        return exits.OK
    print(f"{size} in {trace.seconds:.3g} s ({verdict.gbps:.2f} GB/s), {verdict.in_flight:.1f} requests in flight")
    print(verdict.words)
    note(f"the picture is {picture}")
    return exits.OK

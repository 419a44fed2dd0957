# SPDX-License-Identifier: Apache-2.0
"""The command line of the benchmark, checked, as one object."""

import argparse
import os
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from serve import MIB, Link, parse_link

T = TypeVar("T", int, float)
SIZES_MB = "8,16,32,64,128,256,512,1024"
OPS = ("read_chunked", "headers_batch")
DESTS = ("none", "host", "cuda")


class Options(NamedTuple):
    """What was asked for. Sizes are in bytes."""

    mount_point: Optional[str]  # a real mount; None when we serve
    serve: Optional[str]  # the directory to serve, "" for generated files in a folder of our own
    generate: int
    link: Link
    file_pattern: Optional[str]
    backends: Tuple[str, ...]
    buffers: Tuple[int, ...]
    chunks: Optional[Tuple[int, ...]]  # None: as large as the buffer
    processes: Tuple[int, ...]
    batches: Tuple[int, ...]
    threads: Tuple[int, ...]
    ops: Tuple[str, ...]
    dest: Optional[str]  # None: the best there is
    iterations: int
    warmup: int
    single: bool
    peers: bool
    output_dir: str
    charts: bool
    quiet: bool


def _numbers(kind: Callable[[str], T], minimum: float) -> Callable[[str], List[T]]:
    """Parses comma-separated numbers; argparse shows what is wrong with them."""

    def parse(text: str) -> List[T]:
        try:
            values = [kind(word) for word in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers separated by commas") from None
        # Written so that NaN, which compares with nothing, is refused as well.
        if not all(minimum <= value <= 1 << 40 for value in values):
            raise argparse.ArgumentTypeError(f"{text!r}: a number below {minimum:g}, or absurd")
        return list(dict.fromkeys(values))

    return parse


def _names(text: str) -> List[str]:
    names = [word.strip() for word in text.split(",") if word.strip()]
    if not names:
        raise argparse.ArgumentTypeError("names none")
    return list(dict.fromkeys(names))


def _one(kind: Callable[[str], T], minimum: float) -> Callable[[str], T]:
    def parse(text: str) -> T:
        values = _numbers(kind, minimum)(text)
        if len(values) != 1:
            raise argparse.ArgumentTypeError(f"{text!r} is more than one number")
        return values[0]

    return parse


def _link(text: str) -> Link:
    try:
        return parse_link(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def _add_place(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--mount-point", metavar="DIR", help="measure the 3FS that this directory lies on")
    place.add_argument(
        "--serve",
        nargs="?",
        const="",
        metavar="DIR",
        help="serve this directory with usrbiod and measure that; without DIR one is made in /dev/shm for --generate",
    )
    group = parser.add_argument_group("with --serve")
    group.add_argument(
        "--generate",
        type=_one(float, 0.001),
        metavar="GB",
        help="write files of GB gigabytes together, removed at the end",
    )
    group.add_argument(
        "--link",
        type=_link,
        default=Link(),
        metavar="US,MBPS,JOB[,JITTER[,META]]",
        help="simulate: latency (us), bandwidth (MB/s), ceiling of one job (MB/s), jitter (us), metadata latency (us)",
    )
    group.add_argument("--null", action="store_true", help="requests take their time and move no bytes (--dest none)")


def _add_grid(parser: argparse.ArgumentParser) -> None:
    grid = parser.add_argument_group("the grid (lists are separated by commas)")
    sizes, counts = _numbers(float, 0.001), _numbers(int, 1)
    grid.add_argument("--backends", type=_names, default="mock,python,c", help="default: %(default)s")
    grid.add_argument("--buffer-sizes", type=sizes, default=SIZES_MB, metavar="MB", help="default: %(default)s")
    grid.add_argument(
        "--chunk-sizes",
        type=_numbers(float, 0),
        metavar="MB",
        help="combined with every buffer size; 0: the reader chooses. Default: each buffer's own size",
    )
    grid.add_argument(
        "--decouple-chunk-buffer", action="store_true", help=f"without --chunk-sizes: use {SIZES_MB} for them"
    )
    grid.add_argument("--num-processes", type=counts, default="1,2,4,8", metavar="N", help="default: %(default)s")
    grid.add_argument("--benchmark-op", choices=(*OPS, "both"), default="read_chunked", help="default: %(default)s")
    grid.add_argument("--batch-sizes", type=counts, default="8,16,32,64,128", metavar="N", help="default: %(default)s")
    grid.add_argument("--num-threads", type=counts, default="4,8,16", metavar="N", help="default: %(default)s")
    grid.add_argument("--mode", choices=("grid", "single"), default="grid", help="single: the first of each list")
    grid.add_argument("--peers", action="store_true", help="also measure what one would use otherwise")


def _add_run(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("how to run")
    run.add_argument("--file-pattern", metavar="GLOB", help="default: <mount>/*.safetensors")
    dest = run.add_mutually_exclusive_group()
    dest.add_argument("--dest", choices=DESTS, help="where bytes go; default: cuda if there is a GPU, else host")
    dest.add_argument(
        "--download-only", action="store_const", const="none", dest="dest", help="the same as --dest none"
    )
    run.add_argument("--iterations", type=_one(int, 1), default=3, metavar="N", help="default: %(default)s")
    run.add_argument(
        "--warmup", type=_one(int, 0), default=1, metavar="N", help="reads before the clock runs; default: %(default)s"
    )
    run.add_argument("--output-dir", default="./benchmark_results", metavar="DIR", help="default: %(default)s")
    run.add_argument("--no-charts", action="store_true")
    run.add_argument("--quiet", action="store_true", help="no progress, and of the results the summary only")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark_runner.py",
        description="Throughput by backend, buffer, chunk and number of processes, as a table, a CSV file and charts.",
    )
    _add_place(parser)
    _add_grid(parser)
    _add_run(parser)
    return parser


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """What argparse does not see by itself."""
    serving = args.serve is not None
    if not serving and (args.generate or args.null or args.link != Link()):
        parser.error("--generate, --link and --null go with --serve")
    if args.serve == "" and not args.generate:
        parser.error("--serve needs a directory, or --generate to make files")
    for folder in (args.mount_point, args.serve):
        if folder and not os.path.isdir(folder):
            parser.error(f"{folder}: no such directory")
    if args.null and args.dest not in (None, "none"):
        parser.error(f"--null moves no bytes, so that there are none for --dest {args.dest}")


def _bytes(sizes_mb: Sequence[float]) -> Tuple[int, ...]:
    return tuple(int(size * MIB) for size in sizes_mb)


def _chunks(args: argparse.Namespace) -> Optional[Tuple[int, ...]]:
    if args.chunk_sizes is not None:
        return _bytes(args.chunk_sizes)
    return _bytes([float(word) for word in SIZES_MB.split(",")]) if args.decouple_chunk_buffer else None


def parse(arguments: Optional[Sequence[str]] = None) -> Options:
    """The options. SystemExit with status 2 and a message for those that make no sense."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    _check(parser, args)
    return Options(
        mount_point=args.mount_point,
        serve=args.serve,
        generate=int((args.generate or 0) * 1e9),
        link=args.link._replace(null=args.null),
        file_pattern=args.file_pattern,
        backends=tuple(args.backends),
        buffers=_bytes(args.buffer_sizes),
        chunks=_chunks(args),
        processes=tuple(args.num_processes),
        batches=tuple(args.batch_sizes),
        threads=tuple(args.num_threads),
        ops=OPS if args.benchmark_op == "both" else (args.benchmark_op,),
        dest="none" if args.null else args.dest,
        iterations=args.iterations,
        warmup=args.warmup,
        single=args.mode == "single",
        peers=args.peers,
        output_dir=args.output_dir,
        charts=not args.no_charts,
        quiet=args.quiet,
    )

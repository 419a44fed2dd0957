# SPDX-License-Identifier: Apache-2.0
"""fst3fs demo: a checkpoint, read through USRBIO, every tensor compared with what safetensors loads."""

import argparse

from . import exits
from .output import note

HELP = "read a checkpoint through USRBIO and compare every tensor"
HAS_JSON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", metavar="DIR", help="serve and read the checkpoint in DIR, instead of a made-up one")
    source.add_argument("--mount", metavar="DIR", help="read the checkpoint in DIR, which lies on a real 3FS")
    parser.add_argument(
        "--size-gb", type=float, default=1.0, metavar="N", help="size of the made-up checkpoint (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    try:
        from ..demo.run import run as run_demo  # noqa: PLC0415 (the other commands do without what it needs)
    except ImportError as e:
        note(f"demo: {e}; it needs: pip install 'fastsafetensor-3fs-reader[demo]'")
        return exits.FAILED
    identical = run_demo(args.model, args.mount, args.size_gb, args.json)
    return exits.OK if identical else exits.FOUND

# SPDX-License-Identifier: Apache-2.0
"""python -m fastsafetensor_3fs_reader: the demo, and what would be in use for a path."""

import argparse
import json
import os
import sys
from typing import Dict, List, Optional

from .backend import create_reader, extract_mount_point, get_backend, is_available
from .hf3fs_lib import get_hf3fs_lib_path
from .settings import SETTINGS, environment_name, resolve
from .version import __version__

PROGRAM = "python -m fastsafetensor_3fs_reader"


def _demo(args: argparse.Namespace) -> int:
    try:
        from .demo.run import run  # noqa: PLC0415 (the other commands do without what it needs)
    except ImportError as e:
        print(f"demo: {e}; it needs: pip install 'fastsafetensor-3fs-reader[demo]'", file=sys.stderr)
        return 1
    return run(args.model, args.mount, args.size_gb)


def _facts(path: Optional[str]) -> Dict[str, object]:
    facts: Dict[str, object] = {
        "version": __version__,
        "backend": get_backend(),
        "reads 3FS": is_available(),
        "official library": get_hf3fs_lib_path() or "none found",
    }
    for name in SETTINGS:
        facts[environment_name(name)] = resolve(name, None)
    if path is None:
        return facts
    os.stat(path)
    facts["path"] = path
    facts["mount point"] = extract_mount_point(path) or "none: this path is not on 3FS"
    with create_reader(mount_point=extract_mount_point(path)) as reader:
        facts.update(reader.info())
    return facts


def _info(args: argparse.Namespace) -> int:
    try:
        facts = _facts(args.path)
    except (OSError, ValueError, RuntimeError) as e:
        print(f"info: {e}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    width = max(map(len, facts))
    for key, value in facts.items():
        print(f"{key:<{width}}  {value}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Safetensors files on 3FS, into host or GPU memory.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser("demo", help="read a checkpoint through USRBIO and compare every tensor")
    source = demo.add_mutually_exclusive_group()
    source.add_argument("--model", metavar="DIR", help="serve and read the checkpoint in DIR, instead of a made-up one")
    source.add_argument("--mount", metavar="DIR", help="read the checkpoint in DIR, which lies on a real 3FS")
    demo.add_argument("--size-gb", type=float, default=1.0, help="size of the made-up checkpoint (default: 1)")
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="what is installed, and what a reader of PATH would use and why")
    info.add_argument("path", nargs="?", metavar="PATH")
    info.add_argument("--json", action="store_true", help="for programs")
    info.set_defaults(run=_info)
    return parser


def main(arguments: Optional[List[str]] = None) -> int:
    args = _parser().parse_args(arguments)
    status: int = args.run(args)
    return status

# SPDX-License-Identifier: Apache-2.0
"""The command line: fst3fs, or python -m fastsafetensor_3fs_reader.

One module a command; each has HELP, HAS_JSON, add_arguments(parser) and run(args), which gives an exit code.
argparse, because the package needs nothing but Python, and a broken machine is where one wants ``doctor``.
"""

import argparse
import contextlib
import os
import sys
from types import ModuleType
from typing import List, Optional

from ..version import __version__
from . import bench, cat, check, completion, demo, doctor, exits, info, ls, serve, trace_plot
from .output import PROGRAM, note

COMMANDS = (doctor, info, ls, check, cat, bench, trace_plot, serve, demo, completion)


def name_of(command: ModuleType) -> str:
    """What people type for a module of COMMANDS."""
    return command.__name__.rpartition(".")[2].replace("_", "-")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Safetensors files on 3FS, into host or GPU memory: does it work here, and how well.",
        epilog=exits.EPILOG,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        command = commands.add_parser(name_of(module), help=module.HELP, description=module.HELP, epilog=exits.EPILOG)
        module.add_arguments(command)
        if module.HAS_JSON:
            command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(run=module.run)
    return parser


def _forget_output() -> None:
    """What is buffered goes nowhere, instead of failing once more when Python ends."""
    with open(os.devnull, "wb") as nowhere, contextlib.suppress(AttributeError, OSError):  # it may be no file
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _run(args: argparse.Namespace) -> int:
    status: int = args.run(args)
    if sys.stdout is not None:
        sys.stdout.flush()
    return status


def main(arguments: Optional[List[str]] = None) -> int:
    args = build_parser().parse_args(arguments)
    try:
        return _run(args)
    except KeyboardInterrupt:
        note("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return exits.BROKEN_PIPE
    except (OSError, ValueError, RuntimeError, ImportError) as e:
        _forget_output()
        note(str(e))
        return exits.FAILED

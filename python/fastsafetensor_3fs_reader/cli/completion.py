# SPDX-License-Identifier: Apache-2.0
"""fst3fs completion: a script that completes commands, options and paths in a shell."""

import argparse

from . import exits

HELP = 'print a completion script: eval "$(fst3fs completion bash)"'
#: Its result is a script.
HAS_JSON = False
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    try:
        import shtab  # noqa: PLC0415 (an optional dependency)
    except ImportError:
        raise RuntimeError("completion needs shtab: pip install 'fastsafetensor-3fs-reader[cli]'") from None
    from . import build_parser  # noqa: PLC0415 (which knows this module)

    print(shtab.complete(build_parser(), shell=args.shell))
    return exits.OK

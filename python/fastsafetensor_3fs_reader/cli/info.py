# SPDX-License-Identifier: Apache-2.0
"""fst3fs info: what is installed, and what a reader of PATH would use and why."""

import argparse
import os
from typing import Dict, Iterator, Optional, Tuple

from ..backend import create_reader, extract_mount_point, get_backend, is_available
from ..hf3fs_lib import get_hf3fs_lib_path
from ..settings import SETTINGS, environment_name, resolve
from ..version import __version__
from . import exits
from .output import columns, print_json

HELP = "what is installed, and what a reader of PATH would use and why"
HAS_JSON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", metavar="PATH", help="a file or folder, on 3FS or not")


def _facts(path: Optional[str]) -> Dict[str, object]:
    facts: Dict[str, object] = {
        "version": __version__,
        "backend": get_backend(),
        "reads_3fs": is_available(),
        "official_library": get_hf3fs_lib_path(),
        "settings": {environment_name(name): resolve(name, None) for name in SETTINGS},
    }
    if path is not None:
        os.stat(path)
        facts["path"] = path
        with create_reader(mount_point=extract_mount_point(path)) as reader:
            facts["reader"] = reader.info()
    return facts


def _flat(facts: Dict[str, object]) -> Iterator[Tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, "-" if value in (None, "", []) else str(value)


def run(args: argparse.Namespace) -> int:
    facts = _facts(args.path)
    if args.json:
        print_json(facts)
    else:
        print(columns(list(_flat(facts))))
    return exits.OK

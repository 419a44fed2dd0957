# SPDX-License-Identifier: Apache-2.0
"""fst3fs serve: a local directory as a 3FS mount, by usrbiod, until it is told to end."""

import argparse
import signal
import threading
from typing import Dict, List

from ..usrbiod import Usrbiod
from . import exits
from .output import columns, note, print_json

HELP = "serve a local directory as a 3FS mount, to try things without 3FS"
HAS_JSON = True
LOOK_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="what is served")
    parser.add_argument("mount", metavar="MOUNT", help="where: an empty folder outside of DIR")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="OPTION", help="options of usrbiod, as in --latency-us 500"
    )


def _wait_for_the_end(daemon: Usrbiod) -> bool:
    """Until a signal comes, True, or the daemon has ended by itself."""
    told = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: told.set()) for number in signals]
    try:
        note(f"serving at {daemon.mount_point}; Ctrl-C, or umount, ends it")
        while not told.wait(LOOK_S) and daemon.returncode is None:
            pass
    finally:
        for number, handler in zip(signals, before):
            signal.signal(number, handler)
    return told.is_set()


def _rows(stats: Dict[str, object]) -> List[List[str]]:
    rows = []
    for name, value in stats.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        rows.append([name, text])
    return rows


def run(args: argparse.Namespace) -> int:
    """What it did is printed at the end."""
    daemon = Usrbiod(args.directory, args.mount, *args.options)
    try:
        daemon.start()
        told = _wait_for_the_end(daemon)
        status = daemon.stop()
        if status != 0:
            raise RuntimeError(f"usrbiod ended with status {status}: {daemon.output().strip() or 'without a word'}")
        stats = daemon.stats()
    finally:
        daemon.stop()
        daemon.discard()
    note("ended" if told else "ended: it was unmounted")
    if args.json:
        print_json(stats)
    else:
        print(columns(_rows(stats)))
    return exits.OK

# SPDX-License-Identifier: Apache-2.0
"""Cases of test_forked.py: what may become of a child."""

import os
import signal
import sys
import threading
import time
from typing import Any, Dict, List

_before: List[int] = []


def look(rank: int, ranks: int) -> Dict[str, Any]:
    """What it finds, and says; another is not to find it."""
    print("said", flush=True)
    os.write(2, b"complained\n")
    _before.append(rank)
    return {"rank": rank, "ranks": ranks, "before": _before, "word": os.environ.get("WORD"), "pid": os.getpid()}


def fail(rank: int, ranks: int) -> None:
    raise KeyError("no such thing")


def die(rank: int, ranks: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_badly(rank: int, ranks: int) -> None:
    """Its answer is good."""
    sys.stderr.close()
    threading.Thread(target=lambda: (time.sleep(0.1), os._exit(3))).start()


def hang_for_ever(rank: int, ranks: int, tell: str = "") -> None:
    if tell:
        with open(tell, "w", encoding="ascii") as file:
            file.write(f"{os.getppid()} {os.getpid()}\n")
    while True:
        time.sleep(1)


CASES = {case.__name__: case for case in (look, fail, die, end_badly, hang_for_ever)}
END = sys.exit

if "A_THREAD" in os.environ:
    threading.Thread(target=time.sleep, args=(2,), daemon=True).start()

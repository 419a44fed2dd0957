# SPDX-License-Identifier: Apache-2.0
"""Work that may hang or crash, in a process of its own.

A call that hangs in the kernel cannot be ended, not even by a signal, and neither can the process that is in it. So a
child makes it, says what comes of it line by line, and is left alone when it falls silent.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, Any, Callable, Dict, List, NamedTuple, Optional

Report = Callable[..., None]
#: How long Python may take to begin, on a machine that is busy or has it on a slow disk.
START_S = 60.0
#: How long a child that was killed may take to end.
END_S = 1.0
#: Its arguments are the function's module, its name and its arguments in JSON.
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    " from fastsafetensor_3fs_reader.cli.child import main; main(*sys.argv[2:])"
)


class Outcome(NamedTuple):
    """What a child reported, by step; the step at which it fell silent or died, if it did; and why."""

    found: Dict[str, Dict[str, Any]]
    lost_at: str
    hung: bool
    why: str


class _Reports:
    """What comes out of a child's pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self.at = "start"
        self.begun = False
        self.found: Dict[str, Dict[str, Any]] = {}

    def read(self, deadline: float) -> bool:
        """Waits for more; False at the end. TimeoutError when the deadline passes."""
        ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        data = os.read(self._fd, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return bool(data)

    def _take(self, report: Dict[str, Any]) -> None:
        self.begun = True
        self.at = str(report.pop("step"))
        if report:
            self.found[self.at] = report


def _start(command: List[str], stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", _START, json.dumps(sys.path), *command],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )


def _end(status: int, stderr: IO[bytes]) -> str:
    if status < 0:
        return f"it was ended by signal {signal.Signals(-status).name}"
    stderr.seek(0)
    last = stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
    return f"it ended with status {status}" + (f": {last}" if last else "")


def _follow(process: "subprocess.Popen[bytes]", reports: _Reports, silence_s: float) -> Optional[int]:
    """The exit status, None when the child fell silent."""
    try:
        while reports.read(time.monotonic() + (silence_s if reports.begun else START_S)):
            pass
        return process.wait(silence_s)
    except (TimeoutError, subprocess.TimeoutExpired):
        return None
    finally:
        process.kill()
        # When it hangs in the kernel even that does not end it; it is then collected by whoever inherits it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)


def run(function: Callable[..., None], *arguments: object, silence_s: float) -> Outcome:
    """Runs ``function(report, *arguments)`` in a child, which may be silent for so long."""
    command = [function.__module__, function.__name__, json.dumps(arguments)]
    with tempfile.TemporaryFile() as stderr:
        process = _start(command, stderr)
        assert process.stdout is not None
        with process.stdout:
            reports = _Reports(process.stdout.fileno())
            status = _follow(process, reports, silence_s)
        if status is None:
            return Outcome(
                reports.found, reports.at, True, f"no answer within {silence_s if reports.begun else START_S:g} s"
            )
        if status != 0:
            return Outcome(reports.found, reports.at, False, _end(status, stderr))
        return Outcome(reports.found, "", False, "")


def main(module: str, function: str, arguments: str) -> None:
    """In the child. Its standard output is the pipe, whatever libraries print goes elsewhere."""
    import importlib  # noqa: PLC0415 (the parent does without)

    pipe = os.dup(1)
    os.dup2(2, 1)

    def report(step: str, **found: object) -> None:
        os.write(pipe, json.dumps({"step": step, **found}).encode() + b"\n")

    getattr(importlib.import_module(module), function)(report, *json.loads(arguments))
    # Threads that hang, and what libraries do at the end, are not waited for.
    os._exit(0)

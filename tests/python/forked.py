# SPDX-License-Identifier: Apache-2.0
"""Runs cases in children of a process that has imported once what takes long to import: quick, and each in a process
of its own.

``Forked`` is the tests' end. The other is this file as a script, with a file of cases: a module whose ``CASES`` are
functions by name, and whose ``END`` is how a child ends, ``sys.exit`` or ``os._exit``. It uses nothing of what it has
imported, so that a child finds everything as if it had imported it itself; what is to see a case's environment while it
is imported, the case imports.

A request is a line of JSON: the case's name, its arguments, how many ranks, what is in the environment, and after how
many seconds a child is given up. The answer is one of each rank: what the case returned, or its error, and everything
that it printed.
"""

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List, NamedTuple, Tuple

# ------------------------------------------------------------------ the tests' end


class Answer(NamedTuple):
    """Of one rank."""

    result: Any
    error: str
    log: str

    def lines(self, word: str) -> List[str]:
        return [line for line in self.log.splitlines() if word in line]


class Forked:
    """A process that has imported a file of cases, and runs them in children of its own."""

    def __init__(self, cases: Path, python: str = sys.executable, timeout: float = 110, **environment: str) -> None:
        self._timeout, self._asked = timeout, False
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [python, "-I", __file__, str(cases)],
                # Threads that an import starts would be missing in the children.
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                stdin=theirs,
                stdout=2,
            )
        self._lines = self._socket.makefile("r")

    def ask(self, case: str, ranks: int = 1, environment: Dict[str, str] = {}, **arguments: Any) -> None:  # noqa: B006
        if self._asked:  # by a test that failed before the end of it
            self.answers()
        request = {
            "case": case,
            "ranks": ranks,
            "environment": environment,
            "timeout": self._timeout,
            "arguments": arguments,
        }
        with contextlib.suppress(ConnectionError):  # of which there is more to say when there is no answer
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        self._asked = True

    def answers(self) -> List[Answer]:
        """Of every rank, once all have ended."""
        line, self._asked = "", False
        with contextlib.suppress(ConnectionError):
            line = self._lines.readline()
        assert line, f"it ended with {self._process.wait()}"
        return [Answer(**answer) for answer in json.loads(line)]

    def run(self, case: str, **kwargs: Any) -> Answer:
        """On one rank."""
        self.ask(case, **kwargs)
        (answer,) = self.answers()
        return answer

    def stop(self) -> None:
        self._lines.close()
        self._socket.close()
        assert self._process.wait() == 0


# ------------------------------------------------------------------ the other end


def _serve(cases: ModuleType) -> None:
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"the children would be without {len(threads) - 1} of its threads"
    _end_with(os.getppid())
    with open(0, "w", closefd=False) as answers:
        for line in sys.stdin:
            print(json.dumps(_run(cases, json.loads(line))), file=answers, flush=True)


def _end_with(parent: int) -> None:
    """Whatever becomes of the parent, nothing of this process is left."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _run(cases: ModuleType, request: Dict[str, Any]) -> List[Dict[str, Any]]:
    children = [_fork(cases, request, rank) for rank in range(request["ranks"])]
    return [_wait(*child) for child in children]


def _fork(cases: ModuleType, request: Dict[str, Any], rank: int) -> Tuple[int, int, int]:
    """A child; what its answer will be in, and what it prints."""
    server, answer, log = os.getpid(), os.memfd_create("answer"), os.memfd_create("log")
    child = os.fork()
    if child:
        return child, answer, log
    _end_with(server)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.dump_traceback_later(request["timeout"], exit=True)
    os.environ.update(request["environment"])
    os.write(answer, json.dumps(_outcome(cases, request, rank)).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    cases.END(0)
    raise AssertionError("END returned")


def _outcome(cases: ModuleType, request: Dict[str, Any], rank: int) -> Dict[str, Any]:
    try:
        return {"result": cases.CASES[request["case"]](rank=rank, ranks=request["ranks"], **request["arguments"])}
    except BaseException as e:
        traceback.print_exc()
        return {"error": f"{type(e).__name__}: {e}"}


def _wait(child: int, answer: int, log: int) -> Dict[str, Any]:
    _, status = os.waitpid(child, 0)
    text, said = _all_of(answer), _all_of(log)
    outcome = json.loads(text) if text else {}
    if status or not text:
        outcome["error"] = f"it ended with {os.waitstatus_to_exitcode(status)}"
    return {"result": None, "error": "", **outcome, "log": said}


def _all_of(fd: int) -> str:
    with open(fd, errors="replace") as file:
        file.seek(0)
        return file.read()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    sys.path.insert(0, str(path.parent))
    module = importlib.import_module(path.stem)
    sys.stdout.flush()  # else the children would have it, too
    gc.collect()
    gc.freeze()  # what was imported is not looked through for garbage, least of all at the end of every child
    _serve(module)

# SPDX-License-Identifier: Apache-2.0
"""Runs cases in children of a process that has imported an engine once: quick, and each in a process of its own.

A request is a line of JSON on stdin: the case's name, its arguments, how many ranks, what is in the environment. The
answer is one on stdout: of each rank what the case returned, or its error, and everything that it printed.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List

Cases = Dict[str, Callable[..., Any]]


def serve(cases: Cases) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(_run(cases, request, Path(folder))), file=_answers, flush=True)


def _run(cases: Cases, request: Dict[str, Any], folder: Path) -> List[Dict[str, Any]]:
    children = [_fork(cases, request, rank, folder) for rank in range(request["ranks"])]
    answers = []
    for rank, child in enumerate(children):
        _, status = os.waitpid(child, 0)
        result = folder / f"{rank}.json"
        answer = json.loads(result.read_text()) if result.exists() else {"error": f"it ended with status {status}"}
        answers.append({"result": None, "error": "", **answer, "log": (folder / f"{rank}.log").read_text()})
    return answers


def _fork(cases: Cases, request: Dict[str, Any], rank: int, folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        log = os.open(folder / f"{rank}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(request["environment"])
        (folder / f"{rank}.json").write_text(json.dumps(_answer(cases, request, rank)))
    finally:
        sys.stderr.flush()
        os._exit(0)


def _answer(cases: Cases, request: Dict[str, Any], rank: int) -> Dict[str, Any]:
    try:
        return {"result": cases[request["case"]](rank=rank, ranks=request["ranks"], **request["arguments"])}
    except BaseException as e:
        traceback.print_exc()
        return {"error": f"{type(e).__name__}: {e}"}


# What engines print must not come between the answers.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

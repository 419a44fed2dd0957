# SPDX-License-Identifier: Apache-2.0
"""Runs the command line, as people type it, and compares what it prints for programs with its schema."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Sequence

import jsonschema
import numpy as np
import safetensors.numpy
from support import ROOT

SCHEMAS = ROOT / "docs" / "schemas"
TOOL = str(Path(sysconfig.get_path("scripts")) / "fst3fs")


def run(*arguments: str, under: Sequence[str] = (), text: bool = True, **environment: str) -> Any:
    """What came of ``fst3fs arguments``, below another command where one is given."""
    return subprocess.run(
        [*under, sys.executable, "-I", TOOL, *arguments],
        cwd="/",
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=text,
        check=False,
        timeout=100,
    )


def check_schema(command: str, value: Any) -> None:
    schema = json.loads((SCHEMAS / f"{command}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(value)


def parsed(command: str, output: str) -> Any:
    """What a command printed for programs."""
    value = json.loads(output)
    check_schema(command, value)
    return value


def result(*arguments: str, status: int = 0, **kwargs: Any) -> Any:
    """Its result for programs, and a look whether its exit code is the one expected."""
    done = run(*arguments, "--json", **kwargs)
    assert done.returncode == status, done.stderr + done.stdout
    return parsed(arguments[0], done.stdout)


def small_checkpoint() -> bytes:
    """A file of two tensors."""
    return safetensors.numpy.save({"a": np.arange(5, dtype=np.int32), "b": np.ones((2, 4), np.uint8)})

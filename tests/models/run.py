# SPDX-License-Identifier: Apache-2.0
"""Runs the models: each exhaustively, and each again with a fault put in, which must be found.

What is run stands in the model's first comment:

    run NAME: FLAGS            no property is violated and nobody waits for ever
    ends NAME: FLAGS           no run goes on for ever
    mutant NAME + FLAGS: WHAT  with the last of FLAGS, a fault in what is modelled, property WHAT is violated

FLAGS are macros. A property is named in a comment behind the assertion that states it; `wake-up` is violated where
everybody waits and nothing can move any more. One line for each, with its states and its time; the exit status is 1
unless all are as they must be.

    run.py [MODEL...]
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, NamedTuple

HERE = Path(__file__).resolve().parent
DIRECTIVE = re.compile(r"^ \* (run|ends|mutant) ([a-z0-9-]+)(?: \+ ([A-Z_0-9 ]+))?:(.*)$", re.M)


class Check(NamedTuple):
    model: str
    kind: str
    name: str
    flags: List[str]
    expected: str  # the property that must be violated, "" for none

    @property
    def title(self) -> str:
        what = [self.kind] if self.kind == "ends" else self.flags[-1:] * bool(self.expected)
        return " ".join([self.model, self.name, *what])


def read_checks(path: Path) -> List[Check]:
    checks, flags = [], {}
    for kind, name, fault, text in DIRECTIVE.findall(path.read_text()):
        if kind == "mutant":
            checks.append(Check(path.stem, kind, name, [*flags[name], *fault.split()], text.strip()))
        else:
            chosen = text.split()
            flags.setdefault(name, chosen)
            checks.append(Check(path.stem, kind, name, chosen, ""))
    return checks


def run(folder: str, *command: str, check: bool = True) -> str:
    return subprocess.run(
        command, cwd=folder, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def violated(check: Check, folder: str, defines: List[str], output: str) -> str:
    """The property that a search has found violated."""
    if "pan:1: invalid end state" in output:
        return "wake-up"
    if "pan:1: non-progress cycle" in output:
        return "ends"
    trail = f"{check.model}.pml.trail"
    replay = run(folder, "spin", "-k", trail, *defines, str(HERE / f"{check.model}.pml"), check=False)
    match = re.search(r"\.pml:(\d+), Error: assertion violated", replay)
    if not match:
        return f"something: {output[-300:]}"
    line = (HERE / f"{check.model}.pml").read_text().splitlines()[int(match.group(1)) - 1]
    tag = re.search(r"/\* ([a-z-]+)", line)
    return tag.group(1) if tag else f"line {match.group(1)}"


def verify(check: Check) -> bool:
    defines = [f"-D{flag}" for flag in check.flags]
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        run(folder, "spin", "-a", *defines, str(HERE / f"{check.model}.pml"))
        mode = ["-DNP"] if check.kind == "ends" else ["-DSAFETY"]
        optimize = "-O0" if check.expected else "-O2"
        run(folder, "cc", optimize, "-w", "-DCOLLAPSE", *mode, "-o", "pan", "pan.c")
        begin = time.monotonic()
        output = run(folder, "./pan", "-m2000000", "-w24", *(["-l"] if check.kind == "ends" else []))
        seconds = time.monotonic() - begin
        found = "" if "errors: 0" in output else violated(check, folder, defines, output)
    states = int(re.search(r"(\d+) states, stored", output).group(1))
    exhaustive = "max search depth too small" not in output and "Search not completed" not in output
    good = found == check.expected and (exhaustive or bool(check.expected))
    verdict = f"finds {found}" if found else "holds" if exhaustive else "not exhaustive"
    print(
        f"{'ok ' if good else 'BAD'} {check.title:<52} {states:>9} states {seconds:>6.1f} s  {verdict}"
        + ("" if good else f", expected: {check.expected or 'nothing'}"),
        flush=True,
    )
    return good


def main() -> int:
    models = sorted(path for path in HERE.glob("*.pml") if path.stem in sys.argv[1:] or not sys.argv[1:])
    checks = [check for path in models for check in read_checks(path)]
    begin = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        good = list(pool.map(verify, checks))
    print(f"{sum(good)} of {len(good)} as they must be, {time.monotonic() - begin:.0f} s")
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

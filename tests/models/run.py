# SPDX-License-Identifier: Apache-2.0
"""Runs the models: each exhaustively, and each again with a fault put in, which must be found.

What is run stands in the model's first comment:

    run NAME: FLAGS            no property is violated, and nobody waits for ever
    ends NAME: FLAGS           no run goes on for ever
    run NAME + FLAG: WHAT      with FLAG, a fault in what is modelled, property WHAT is violated
    ends NAME + FLAG: ends     likewise

FLAGS are macros. Properties are named where they are claimed; `wake-up` is violated where everybody waits and nothing
can move any more. One line for each, with its states and its time; the exit status is 1 unless all are as they must be.

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
from typing import Dict, List, NamedTuple

HERE = Path(__file__).resolve().parent
DIRECTIVE = re.compile(r"^ \* (run|ends) ([a-z-]+)(?: \+ ([A-Z_ ]+))?: (.*)$", re.M)


class Check(NamedTuple):
    model: Path
    kind: str
    name: str
    flags: List[str]
    expected: str  # the property that must be violated, "" for none

    @property
    def title(self) -> str:
        return " ".join([self.model.stem, self.kind, self.name] + self.flags[-1:] * bool(self.expected))


def read_checks(model: Path) -> List[Check]:
    checks: List[Check] = []
    flags: Dict[str, List[str]] = {}
    for kind, name, faults, text in DIRECTIVE.findall(model.read_text()):
        if faults:
            checks.append(Check(model, kind, name, flags[kind + name] + faults.split(), text))
        else:
            flags[kind + name] = text.split()
            checks.append(Check(model, kind, name, text.split(), ""))
    return checks


def run(folder: str, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{output}")
    return output


def violated(output: str) -> str:
    """The property that a search has found violated, "" for none."""
    if "errors: 0" in output:
        return ""
    if "pan:1: invalid end state" in output:
        return "wake-up"
    if "pan:1: non-progress cycle" in output:
        return "ends"
    claim = re.search(r"pan:1: assertion violated .*claim_(\w+)", output)
    return claim.group(1) if claim else f"something: {output[-300:]}"


def spin_arguments(check: Check) -> List[str]:
    return [*(f"-D{flag}" for flag in check.flags), str(check.model)]


def search(check: Check, folder: str) -> str:
    cycles = check.kind == "ends"
    run(folder, "spin", "-a", *spin_arguments(check))
    # Faults are found soon.
    run(folder, "cc", "-O0" if check.expected else "-Og", "-w", "-DCOLLAPSE", "-DNP" if cycles else "-DSAFETY", "pan.c")
    return run(folder, "./a.out", "-m2000000", "-w24", *(["-l"] if cycles else []))


def verify(check: Check) -> bool:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        output = search(check, folder)
    found = violated(output)
    states = re.search(r"(\d+) states, stored", output)
    whole = bool(found) or not re.search("search depth too small|Search not completed", output)
    good = found == check.expected and whole
    print(
        f"{'ok ' if good else 'BAD'} {check.title:<52} {states.group(1) if states else '?':>9} states"
        f" {time.monotonic() - begin:6.1f} s  {f'finds {found}' if found else 'holds' if whole else 'not exhaustive'}"
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

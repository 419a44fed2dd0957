# SPDX-License-Identifier: Apache-2.0
"""Fuzzes each target for a while: a line for each, with what was run and how much of the code it is for was reached.

What is grown stays in BUILD_DIR/corpus, for the next time. A target fails when it crashes, hangs or leaks, with the
path of the input that does it; or when it reaches less than 90 % of the lines of the sources that its comment says it
covers. BUILD_DIR/coverage has a count at each line.

    run.py BUILD_DIR SECONDS [TARGET...]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import List, NamedTuple, Tuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ENOUGH = 90  # percent of lines


class Target(NamedTuple):
    name: str
    program: Path
    seeds: List[str]

    @property
    def source(self) -> Path:
        return HERE / f"fuzz_{self.name}.c"

    @property
    def covers(self) -> List[str]:
        """The sources that it is for, as its first comment names them."""
        listed = re.search(r"^ \* Covers: (.*?)\n \*/", self.source.read_text(), re.DOTALL | re.MULTILINE)
        assert listed, f"{self.source} does not say what it covers"
        return re.findall(r"\S+\.c", listed.group(1))


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def targets_of(build: Path) -> List[Target]:
    """As meson has them: programs, and where their inputs are."""
    tests = json.loads(output_of("meson", "introspect", "--tests", str(build)))
    return [
        Target(Path(test["cmd"][0]).name.replace("fuzz_", "", 1), Path(test["cmd"][0]), test["cmd"][1:])
        for test in tests
        if "fuzz" in " ".join(test["suite"])
    ]


def call(target: Target, log: Path, profile: Path, *options: str) -> int:
    """The target under libFuzzer; its status. What a crash leaves in /dev/shm is removed."""
    with log.open("wb") as file:
        environment = {**os.environ, "LLVM_PROFILE_FILE": str(profile), "UBSAN_OPTIONS": "print_stacktrace=1"}
        with subprocess.Popen(
            [str(target.program), *options, *target.seeds],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as process:
            status = process.wait()
    for left in Path("/dev/shm").glob(f"fuzz-{process.pid}-*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return status


def lines_reached(target: Target, build: Path, profile: Path) -> Tuple[int, int]:
    """How many lines of the sources that it covers were run, and how many there are. Leaves a listing."""
    merged, listing = profile.with_suffix(".profdata"), build / "coverage" / f"{target.name}.txt"
    output_of("llvm-profdata", "merge", "-sparse", "-o", str(merged), str(profile))
    what = [str(target.program), f"-instr-profile={merged}"]
    listing.write_text(output_of("llvm-cov", "show", *what))
    files = json.loads(output_of("llvm-cov", "export", "-summary-only", *what))["data"][0]["files"]
    lines = {os.path.normpath(file["filename"]): file["summary"]["lines"] for file in files}
    own = [lines[str(ROOT / source)] for source in target.covers]
    return sum(file["covered"] for file in own), sum(file["count"] for file in own)


def fuzz(target: Target, build: Path, seconds: int) -> bool:
    grown, log = build / "corpus" / target.name, build / "logs" / f"{target.name}.txt"
    profile = build / "coverage" / f"{target.name}.profraw"
    for folder in (grown, log.parent, profile.parent, build / "crashes"):
        folder.mkdir(parents=True, exist_ok=True)
    words = HERE / f"{target.name}.dict"
    options = [f"-dict={words}"] if words.exists() else []
    # For as long as an input may take on a machine that has other work.
    options += ["-timeout=60", "-len_control=20", f"-artifact_prefix={build}/crashes/{target.name}-"]
    begin = time.monotonic()
    status = call(target, log, profile, f"-max_total_time={seconds}", "-print_final_stats=1", *options, str(grown))
    text = log.read_text(errors="replace")
    executed = re.search(r"stat::number_of_executed_units: (\d+)", text)
    title = f"{target.name:<14} {executed.group(1) if executed else '?':>9} runs {time.monotonic() - begin:6.0f} s"
    if status == 0:
        status = call(target, log, profile, "-runs=0", *options, str(grown))
        text = log.read_text(errors="replace")
    if status:
        found = re.search(r"Test unit written to (\S+)", text)
        culprit = found.group(1) if found else "no input alone does it"
        print(f"BAD {title}  crashes: {culprit}\n{text[-6000:]}", flush=True)
        return False
    reached, lines = lines_reached(target, build, profile)
    good = reached * 100 >= lines * ENOUGH
    print(
        f"{'ok ' if good else 'BAD'} {title}  {len(list(grown.iterdir())):>5} inputs grown"
        f"  {reached * 100 // lines:>3} % of {lines} lines"
        + ("" if good else f", which is less than {ENOUGH}: {build}/coverage/{target.name}.txt"),
        flush=True,
    )
    return good


def main() -> int:
    build, seconds, wanted = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]
    targets = [target for target in targets_of(build) if target.name in wanted or not wanted]
    good = [fuzz(target, build, seconds) for target in targets]
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over every C file of a build directory, several at a time. Usage: tidy.py BUILD_DIR"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import List


def _sources(build: str) -> List[str]:
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    return sorted({os.path.normpath(os.path.join(c["directory"], c["file"])) for c in commands})


def main(build: str) -> int:
    def tidy(source: str) -> int:
        # Options of gcc that clang does not know are no finding.
        command = ["clang-tidy", "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option", source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or done.stdout:
            print(done.stdout or done.stderr, end="", flush=True)
        return done.returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return int(any(list(pool.map(tidy, _sources(build)))))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

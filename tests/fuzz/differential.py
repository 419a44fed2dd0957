# SPDX-License-Identifier: Apache-2.0
"""Gives the files that fuzzing the table has grown to the safetensors package too: it must come to the same verdict.

differential.py DIRECTORY
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

import verdicts  # noqa: E402

AT_A_TIME = 1000  # they are arguments of a command


def main() -> int:
    contents = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
    valid = 0
    with tempfile.TemporaryDirectory(prefix="differential-") as name:
        folder = Path(name)
        program = folder / "table_verdict"
        assert verdicts.build(program), "no C compiler"
        for i in range(0, len(contents), AT_A_TIME):
            part = contents[i : i + AT_A_TIME]
            for content, verdict in zip(part, verdicts.judge(str(program), folder, part)):
                valid += verdicts.same(content, verdict, folder / "file")
    print(f"ok  the same verdict as the safetensors package on {len(contents)} files, {valid} of them valid")
    return 0 if contents else 1


if __name__ == "__main__":
    sys.exit(main())
